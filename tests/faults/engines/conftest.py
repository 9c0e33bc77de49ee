"""One plant for each engine, for all tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.engine.plant import ENGINES, Plant, open_plant
from tests.servers import create_database

JOURNEYS = ["tests.faults.engines.journeys"]


@pytest_asyncio.fixture(scope="package", loop_scope="package", params=ENGINES)
async def shared_plant(
    request: pytest.FixtureRequest, postgres_url: str, redis_url: str
) -> AsyncIterator[Plant]:
    database_url = await create_database(postgres_url, f"engines_{uuid4().hex[:8]}")
    async with open_plant(
        request.param, database_url=database_url, redis_url=redis_url, journeys=JOURNEYS
    ) as plant:
        yield plant


@pytest_asyncio.fixture(loop_scope="package")
async def plant(shared_plant: Plant) -> AsyncIterator[Plant]:
    """With a worker that lives. Whatever a test did to it, the books balance afterwards."""
    await shared_plant.staffed()
    yield shared_plant
    await shared_plant.audit()
