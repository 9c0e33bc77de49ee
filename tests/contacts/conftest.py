"""A database of its own, for tests that need no other part of a runtime."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hogsend.settings import Settings
from hogsend.storage.database import Database


@pytest.fixture
async def database(settings: Settings, clean: None) -> AsyncIterator[Database]:
    database = Database.open(settings)
    yield database
    await database.close()
