"""What an idle worker asks of Postgres, and that it still wakes for what matters. Time passes where a loop sleeps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import insert

from hogsend.clock import ManualClock
from hogsend.engine import loops
from hogsend.engine.embedded import EmbeddedWorker
from hogsend.engine.outbox import CAPTURE, enqueue_job, publish_later
from hogsend.runtime import Runtime
from hogsend.tables.engine import jobs
from tests.driving import rows, statements
from worker.main import embedded_worker

TEN_MINUTES = timedelta(minutes=10)


class Enough(BaseException):
    """Ends a loop that never ends; `forever` would catch an Exception."""


class Naps:
    """Stands in for a loop's sleep: a nap moves the clock by its length. Ends the loop when `until` has come.

    `event` happens once in the midst of a nap, at its instant; it may set the hint.
    """

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.until = clock.wall()
        self.enough: Callable[[], bool] = lambda: False
        self.event_at: datetime | None = None
        self.event: Callable[[asyncio.Event], Awaitable[None]]

    async def __call__(self, hint: asyncio.Event, seconds: float) -> None:
        if self.enough():
            raise Enough
        wakes = self._clock.wall() + timedelta(seconds=seconds)
        if self.event_at is not None and self.event_at <= wakes:
            self._clock.set(self.event_at)
            self.event_at = None
            await self.event(hint)
            wakes = self._clock.wall() if hint.is_set() else wakes
        self._clock.set(wakes)
        if self._clock.wall() >= self.until:
            raise Enough


@pytest.fixture
def naps(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Naps:
    naps = Naps(clock)
    monkeypatch.setattr(loops, "hint_or", naps)
    return naps


@pytest.fixture
def worker(runtime: Runtime) -> EmbeddedWorker:
    return embedded_worker(runtime)


async def work(worker: EmbeddedWorker, loop: str, naps: Naps, clock: ManualClock, during: timedelta) -> None:
    naps.until = clock.wall() + during
    with suppress(Enough):
        await worker._loops()[loop]()


# The polls: two statements each ten seconds. Crons: the watchdog's look, 300; the heartbeat, 3 times 120; the rest,
# of which the alerts and what there is to fold into the rollups of metrics are asked for once a minute.
@pytest.mark.parametrize(("loop", "at_most"), [("outbox", 122), ("runs", 122), ("jobs", 122), ("crons", 960)])
async def test_ten_idle_minutes(
    runtime: Runtime, worker: EmbeddedWorker, naps: Naps, clock: ManualClock, loop: str, at_most: int
) -> None:
    with statements(runtime.database) as seen:
        await work(worker, loop, naps, clock, TEN_MINUTES)
    assert 0 < len(seen) <= at_most


async def test_the_leases_of_the_dead_are_released_within_two_seconds(
    runtime: Runtime, worker: EmbeddedWorker, naps: Naps, clock: ManualClock
) -> None:
    async def somebody_dies(_hint: asyncio.Event) -> None:
        async with runtime.database.transaction() as conn:
            await conn.execute(insert(jobs).values(**job_of_the_dead(clock.wall())))

    naps.event, naps.event_at = somebody_dies, clock.wall() + timedelta(seconds=100.1)
    await work(worker, "crons", naps, clock, timedelta(seconds=102.2))
    assert await rows(runtime, "SELECT 1 FROM jobs WHERE lease_owner IS NULL")


def job_of_the_dead(wall: datetime) -> dict[str, Any]:
    return {
        "id": uuid4(),
        "kind": "nothing",
        "payload": {},
        "run_at": wall,
        "created_at": wall,
        "status": "running",
        "lease_owner": "dead",
        "lease_until": wall + timedelta(minutes=5),
    }


async def test_a_job_is_run_when_it_is_due_and_not_at_the_next_poll(
    runtime: Runtime, worker: EmbeddedWorker, naps: Naps, clock: ManualClock
) -> None:
    async with runtime.database.transaction() as conn:
        await enqueue_job(conn, clock, "nothing", {}, delay=timedelta(seconds=3))
    began = clock.wall()
    naps.enough = lambda: bool(worker._tasks)
    await work(worker, "jobs", naps, clock, timedelta(minutes=1))
    assert clock.wall() - began <= timedelta(seconds=loops.POLL)
    await asyncio.gather(*worker._tasks)


@pytest.mark.parametrize(("hinted", "within"), [(True, 1.2), (False, 15.2)])
async def test_what_waits_for_posthog_is_found_at_the_hint_and_without_it_too(
    runtime: Runtime, worker: EmbeddedWorker, naps: Naps, clock: ManualClock, hinted: bool, within: float
) -> None:
    async def is_written(hint: asyncio.Event) -> None:
        async with runtime.database.transaction() as conn:
            await publish_later(conn, clock, CAPTURE, {"event_id": str(uuid4())})
        if hinted:
            hint.set()

    naps.event, naps.event_at = is_written, clock.wall() + timedelta(seconds=100.1)
    await work(worker, "crons", naps, clock, timedelta(seconds=100.1 + within))
    assert await rows(runtime, "SELECT 1 FROM crons WHERE name = 'captures'")


async def test_a_row_of_the_outbox_wakes_the_runs_of_every_worker(worker: EmbeddedWorker) -> None:
    """Whoever delivers it wakes only its own."""
    listening = asyncio.create_task(worker._loops()["listen"]())
    try:
        async with asyncio.timeout(20):
            await worker._engine.runs.wait()
            worker._engine.runs.clear()
            async with worker._runtime.database.transaction() as conn:
                await publish_later(conn, worker._runtime.clock, "run.wake", {})
            await worker._engine.runs.wait()
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
