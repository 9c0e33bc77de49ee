"""Many runs that only wait, from inside of a worker."""

from __future__ import annotations

import asyncio
import os
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from hogsend import Context, User, days, journey
from hogsend.clock import ManualClock
from hogsend.engine.embedded import EmbeddedEngine
from hogsend.runtime import Runtime
from tests.driving import drive, rows, send_event, statuses, watching
from tests.fixtures.journeys import RunningWith
from worker import main
from worker.main import embedded_worker

SLEEPERS = int(os.environ.get("HOGSEND_SLEEPERS", "3000"))


@asynccontextmanager
async def working(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EmbeddedEngine]:
    """A worker on `runtime` for the length of the block, without its crons."""
    monkeypatch.setattr(main, "SCHEDULE", ())
    worker = embedded_worker(runtime)
    task = asyncio.create_task(worker.run(timedelta(seconds=5)))
    try:
        assert isinstance(runtime.engine, EmbeddedEngine)
        yield runtime.engine
    finally:
        worker.stop()
        await task


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.01)


# As many people, runs and journals like the first one; each run due a second after the one before.
_CLONES = (
    """
INSERT INTO contacts SELECT (jsonb_populate_record(c, jsonb_build_object(
    'id', gen_random_uuid(), 'email', 's' || n || '@example.com'))).*
FROM contacts c, generate_series(1, $1) n
""",
    """
INSERT INTO journey_states SELECT (jsonb_populate_record(s, jsonb_build_object(
    'id', gen_random_uuid(), 'contact_id', c.id, 'entry_key', s.journey_id || ':' || c.id,
    'wake_at', s.wake_at + row_number() OVER () * interval '1 second'))).*
FROM contacts c, journey_states s WHERE c.id <> s.contact_id
""",
    """
INSERT INTO journey_steps SELECT (jsonb_populate_record(one, jsonb_build_object(
    'id', gen_random_uuid(), 'state_id', s.id))).*
FROM journey_steps one, journey_states s WHERE s.id <> one.state_id
""",
)


@journey(id="sleeps", trigger="signup")
async def sleeps(user: User, ctx: Context) -> None:
    await ctx.checkpoint("going to bed")
    await ctx.sleep(days(40))
    await ctx.checkpoint("up again")


async def test_sleepers_take_neither_memory_nor_tasks(
    running: RunningWith, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HOGSEND_SLEEPERS says how many. A run that sleeps is a row; those that wake are driven a few at a time."""
    async with running(sleeps) as runtime:
        await send_event(runtime, "signup")
        await drive(runtime)
        async with working(runtime, monkeypatch) as engine:
            await _turns(runtime, engine, 20)
            tracemalloc.start()
            await _turns(runtime, engine, 20)
            tasks, memory = len(asyncio.all_tasks()), tracemalloc.get_traced_memory()[0]
            await _clone(runtime, SLEEPERS)
            await _turns(runtime, engine, 20)
            assert len(asyncio.all_tasks()) <= tasks + 2
            assert tracemalloc.get_traced_memory()[0] - memory < 500_000
            tracemalloc.stop()

            most = 0

            def look(_point: str) -> None:
                nonlocal most
                most = max(most, sum("_one" in repr(task.get_coro()) for task in asyncio.all_tasks()))

            with watching(runtime, look):
                clock.advance(days(40) + timedelta(seconds=60))
                engine.runs.set()
                await until(lambda: _ended(runtime, 61))
            assert 0 < most <= runtime.settings.worker_concurrency
        assert Counter(await statuses(runtime)) == {"waiting": SLEEPERS - 60, "completed": 61}


async def _clone(runtime: Runtime, people: int) -> None:
    async with runtime.database.transaction() as conn:
        raw = (await conn.get_raw_connection()).driver_connection
        assert raw is not None
        await raw.execute(_CLONES[0], people)
        for statement in _CLONES[1:]:
            await raw.execute(statement)
        await raw.execute("ANALYZE journey_states")


async def _turns(runtime: Runtime, engine: EmbeddedEngine, times: int) -> None:
    """Let the worker look for due runs so many times."""
    for _ in range(times):
        engine.runs.set()

        async def looked() -> bool:
            return not engine.runs.is_set()

        await until(looked)


async def _ended(runtime: Runtime, runs: int) -> bool:
    found = await rows(runtime, "SELECT count(*) AS n FROM journey_states WHERE status = 'completed'")
    return bool(found[0].n == runs)
