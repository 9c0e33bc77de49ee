"""The pool hands out connections that work."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from hogsend.runtime import Runtime
from hogsend.storage import database as module


async def _lose_the_pooled_connection(runtime: Runtime) -> tuple[int, asyncpg.Connection]:
    """Postgres ends the session of the one connection in the pool; returns once this side has noticed."""
    async with runtime.database.read() as conn:
        raw = (await conn.get_raw_connection()).driver_connection
        assert raw is not None
        pid = int((await conn.execute(text("SELECT pg_backend_pid()"))).scalar_one())
    killer = await asyncpg.connect(runtime.settings.database_url)
    await killer.execute("SELECT pg_terminate_backend($1, 5000)", pid)
    await killer.close()
    async with asyncio.timeout(5):
        while not raw.is_closed():
            await asyncio.sleep(0)
    return pid, raw


async def _pid(runtime: Runtime) -> int:
    async with runtime.database.transaction() as conn:
        return int((await conn.execute(text("SELECT pg_backend_pid()"))).scalar_one())


async def test_a_connection_that_postgres_closed_is_replaced_before_anyone_uses_it(runtime: Runtime) -> None:
    lost, _ = await _lose_the_pooled_connection(runtime)
    assert await _pid(runtime) != lost


async def test_a_broken_line_that_nobody_noticed_is_found_after_a_silence(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, broken = await _lose_the_pooled_connection(runtime)
    is_closed = asyncpg.Connection.is_closed
    with monkeypatch.context() as patch:
        patch.setattr(asyncpg.Connection, "is_closed", lambda one: one is not broken and is_closed(one))
        patch.setattr(module, "_FRESH", 0.0)
        assert await _pid(runtime) != lost


async def test_a_connection_in_steady_use_is_not_pinged(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    pings: list[object] = []
    ping = module._ping

    def count(connection: Any) -> None:
        pings.append(connection)
        ping(connection)

    monkeypatch.setattr(module, "_ping", count)
    for _ in range(3):
        await _pid(runtime)
    assert pings == []
    monkeypatch.setattr(module, "_FRESH", 0.0)
    await _pid(runtime)
    assert len(pings) == 1
