"""A database of its own for tests that need no other part of a runtime; the journeys' runtime for those that do."""

from collections.abc import AsyncIterator

import pytest

from hogsend.settings import Settings
from hogsend.storage.database import Database
from tests.faults.conftest import RunningWith, running

__all__ = ["RunningWith", "running"]


@pytest.fixture
async def database(settings: Settings, clean: None) -> AsyncIterator[Database]:
    database = Database.open(settings)
    yield database
    await database.close()
