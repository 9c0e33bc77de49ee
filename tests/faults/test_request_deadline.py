"""A request that takes too long is told that, and not that the database is away; a caller that leaves is on record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from sqlalchemy import text

from hogsend.contacts.lookup import lock_contact
from hogsend.rest import middleware
from hogsend.rest.middleware import TOO_LONG
from hogsend.runtime import Runtime
from tests.access.keys import make_key
from tests.driving import ADA, rows, send_event
from tests.faults.site import eventually

PREFERENCES = """mutation { contactPreferencesUpdate(input: {by: {email: "ada@example.com"}, unsubscribedAll: true}) {
    userErrors { code } } }"""


@asynccontextmanager
async def someone_holds_ada(runtime: Runtime) -> AsyncIterator[None]:
    ada = (await send_event(runtime, "seen")).contact_id
    assert ada is not None
    async with runtime.database.transaction() as conn:
        await lock_contact(conn, ada)
        yield


async def test_a_request_that_waits_for_a_lock_is_not_told_that_the_database_is_away(
    client: httpx.AsyncClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "LONGEST_REQUEST", 0.3)
    async with someone_holds_ada(runtime):
        answer = await client.post("/v1/events", json={"name": "slow", "email": ADA})
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert answer.json()["error"] == TOO_LONG
        asked = await client.post("/graphql", json={"query": PREFERENCES})
    assert asked.status_code == 503
    (error,) = asked.json()["errors"]
    assert error["message"] == TOO_LONG
    assert error["extensions"]["retryAfter"] == 5
    audited = await eventually(lambda: rows(runtime, "SELECT outcome FROM audit_logs"))
    assert [row.outcome for row in audited] == ["ok"], "the mutation went on, as the answer says"


async def test_a_mutation_that_is_refused_before_it_runs_is_on_record_although_its_caller_left(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    _, reader = await make_key(runtime)

    async def waits() -> bool:
        return bool(
            await rows(
                runtime, "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'audit_logs'::regclass"
            )
        )

    async with runtime.database.transaction() as conn:
        before = len(await rows(runtime, "SELECT 1 FROM audit_logs"))
        await conn.execute(text("LOCK TABLE audit_logs IN SHARE MODE"))
        asked = asyncio.create_task(
            client.post("/graphql", json={"query": PREFERENCES}, headers={"Authorization": reader})
        )
        assert await eventually(waits)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)

    async def refused() -> bool:
        audited = await rows(runtime, "SELECT outcome FROM audit_logs ORDER BY seq")
        return [row.outcome for row in audited[before:]] == ["refused"]

    assert await eventually(refused)
