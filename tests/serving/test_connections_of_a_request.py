"""A request's share of the pool: bounded while it runs, given back when its client hangs up."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.pool import QueuePool

from hogsend.graphql.context import CONNECTIONS_A_REQUEST
from hogsend.runtime import Runtime
from tests.conftest import ADMIN_KEY
from tests.driving import listening
from tests.fixtures.graphql import Ask

WIDE = (
    "{ " + " ".join(f"e{n}: emails(first: {n + 1}) {{ totalCount nodes {{ id }} }}" for n in range(12)) + " }"
)


def pool_of(runtime: Runtime) -> QueuePool:
    pool = runtime.database.engine.pool
    assert isinstance(pool, QueuePool)
    return pool


async def test_one_request_takes_few_connections(runtime: Runtime, ask: Ask) -> None:
    most = 0

    def note(*_: object) -> None:
        nonlocal most
        most = max(most, pool_of(runtime).checkedout())

    with listening(runtime.database.engine, "checkout", note):
        await ask(WIDE)
    assert most <= CONNECTIONS_A_REQUEST


async def test_a_client_that_hangs_up_takes_its_query_along(live_server: str, runtime: Runtime) -> None:
    async with runtime.database.engine.connect() as locker:
        await locker.execute(text("LOCK TABLE email_sends IN ACCESS EXCLUSIVE MODE"))
        held = pool_of(runtime).checkedout()
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {ADMIN_KEY}"}) as http:
            asked = asyncio.create_task(
                http.post(f"{live_server}/graphql", json={"query": "{ emails { nodes { id } } }"}, timeout=30)
            )
            async with asyncio.timeout(10):
                while not await _waiting(runtime):
                    await asyncio.sleep(0.01)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
        async with asyncio.timeout(10):
            while await _waiting(runtime) or pool_of(runtime).checkedout() > held:
                await asyncio.sleep(0.01)
        await locker.rollback()


async def _waiting(runtime: Runtime) -> bool:
    """Whether a query waits for a lock now."""
    async with runtime.database.read() as conn:
        found = await conn.execute(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND wait_event_type = 'Lock' AND query LIKE '%email_sends%'"
            )
        )
        return bool(found.scalar_one())
