"""A worker is told to stop with a hundred sends on the wire, and is killed before the last answers come."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from hogsend.boot import open_runtime
from hogsend.clock import SystemClock
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from tests.driving import rows, send_event
from tests.engine.worker_process import ROOT, WorkerProcess
from tests.faults.site import eventually
from tests.standins.http import Hold
from tests.standins.resend import API_KEY, ResendStandIn

SENDS = int(os.environ.get("HOGSEND_SENDS_IN_FLIGHT", "100"))


@pytest.fixture
async def resend() -> AsyncIterator[ResendStandIn]:
    async with ResendStandIn(SystemClock()) as standin:
        yield standin


@pytest.fixture
async def outside(settings: Settings, clean: None) -> AsyncIterator[Runtime]:
    mine = settings.model_copy(update={"journeys": ["tests.faults.outage_journeys"]})
    mine = mine.model_copy(update={"templates": [ROOT / "tests" / "templates"]})
    async with open_runtime(mine) as runtime:
        yield runtime


@pytest.fixture
def worker(settings: Settings, resend: ResendStandIn) -> Iterator[WorkerProcess]:
    process = WorkerProcess(
        {
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": settings.redis_url,
            "RESEND_API_KEY": API_KEY,
            "RESEND_API_URL": resend.url,
            "HOGSEND_JOURNEYS": "tests.faults.outage_journeys",
            "HOGSEND_TEMPLATES": str(ROOT / "tests" / "templates"),
            "HOGSEND_WORKER_CONCURRENCY": str(SENDS),
            "HOGSEND_LOG_LEVEL": "warning",
        }
    )
    yield process
    process.close()


async def ask(runtime: Runtime, who: str, people: int) -> list[str]:
    emails = [f"{who}{index}@example.com" for index in range(people)]
    for email in emails:
        await send_event(runtime, "outage.asked", email=email)
    return emails


async def until(look: Callable[[], Awaitable[int]], count: int) -> None:
    assert await eventually(look, lambda found: found == count) == count


async def on_the_wire(resend: ResendStandIn, calls: int) -> None:
    async def seen() -> int:
        return len(resend.requests)

    await until(seen, calls)


async def recorded(runtime: Runtime) -> int:
    found = await rows(runtime, "SELECT count(*) AS n FROM email_sends WHERE message_id IS NOT NULL")
    return int(found[0].n)


async def test_sends_on_the_wire_at_sigterm_are_finished_and_nothing_new_is_begun(
    outside: Runtime, worker: WorkerProcess, resend: ResendStandIn
) -> None:
    answers = asyncio.Event()
    resend.outage = Hold(answers)
    emails = await ask(outside, "early", SENDS)
    worker.start()
    await on_the_wire(resend, SENDS)
    stopping = asyncio.create_task(worker.stop())
    await _no_longer_listens(outside)
    await ask(outside, "late", 5)
    answers.set()
    assert await stopping == 0
    assert Counter(emails) == resend.sent_to, "those who asked after the signal are left to another worker"
    assert len(resend.requests) == SENDS
    assert await recorded(outside) == SENDS
    ended = await rows(outside, "SELECT status, lease_owner, count(*) FROM journey_states GROUP BY 1, 2")
    assert sorted(map(tuple, ended)) == [("completed", None, SENDS), ("pending", None, 5)]


@pytest.mark.slow
async def test_a_kill_in_the_middle_of_that_loses_nothing_and_repeats_nothing(
    outside: Runtime, worker: WorkerProcess, resend: ResendStandIn
) -> None:
    answers = asyncio.Event()
    half = SENDS // 2
    resend.faults.extend([Hold(answers)] * half + [Hold()] * (SENDS - half))
    emails = await ask(outside, "person", SENDS)
    worker.start()
    await on_the_wire(resend, SENDS)
    stopping = asyncio.create_task(worker.stop())
    await _no_longer_listens(outside)
    answers.set()
    await until(lambda: recorded(outside), half)
    assert worker.lives, "it waits for the other half"
    worker.kill()
    assert await stopping == -9

    worker.start()
    await until(lambda: recorded(outside), SENDS)
    assert await worker.stop() == 0
    assert resend.sent_to == Counter(emails)
    assert len(resend.requests) == 2 * SENDS - half, "only those without an answer were asked for again"
    ended = await rows(outside, "SELECT status, count(*) FROM journey_states GROUP BY 1")
    assert list(map(tuple, ended)) == [("completed", SENDS)]
    decided = await rows(outside, "SELECT kind, count(*) FROM decisions WHERE kind LIKE 'sen%' GROUP BY 1")
    assert sorted(map(tuple, decided)) == [("send", SENDS), ("sent", SENDS)]


async def _no_longer_listens(runtime: Runtime) -> None:
    """A worker that stops gives up its session of hints first of all."""

    async def listening() -> int:
        found = await rows(
            runtime,
            "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND classid = 7311"
            " AND mode = 'ShareLock' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        return int(found[0].n)

    await until(listening, 0)
