"""What journeys stand on goes away and comes back; and many runs that only wait."""

from __future__ import annotations

import asyncio
import os
import signal
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import httpx
import pytest
from redis.asyncio import Redis

from hogsend import Context, User, days, journey
from hogsend.app import create_app
from hogsend.boot import open_runtime
from hogsend.clock import ManualClock
from hogsend.emails.providers import Message
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.engine.embedded import EmbeddedEngine
from hogsend.engine.port import EngineDown
from hogsend.engine.publisher import Publisher, retry_now
from hogsend.journeys.registry import Registry
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from hogsend.storage.embedded import EmbeddedStack
from hogsend.storage.migrate import migrate
from hogsend.storage.stopping import stop
from tests.conftest import ADMIN_KEY
from tests.driving import drive, rows, send_event, statuses, watching
from tests.faults.conftest import RunningWith, templates_of_tests
from worker import main
from worker.main import embedded_worker

SLEEPERS = int(os.environ.get("HOGSEND_SLEEPERS", "3000"))
BURST = int(os.environ.get("HOGSEND_BURST", "60"))
PEOPLE = 12


@journey(id="naps", trigger="signup")
async def naps(user: User, ctx: Context) -> None:
    await ctx.send("welcome")
    await ctx.sleep(days(30))
    await ctx.send("bye")


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


async def signed_up(runtime: Runtime, people: int = PEOPLE) -> list[str]:
    emails = [f"p{index}@example.com" for index in range(people)]
    for email in emails:
        await send_event(runtime, "signup", email=email)
    return emails


def each_once(provider: MemoryProvider) -> Counter[tuple[str, str]]:
    return Counter((taken.message.to, taken.message.subject.split()[0]) for taken in provider.accepted)


async def test_redis_is_flushed_over_and_over(
    running: RunningWith, clock: ManualClock, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = MemoryProvider()
    flushes = 0

    async def flush() -> None:
        nonlocal flushes
        async with Redis.from_url(settings.redis_url) as redis:
            while True:
                await redis.flushall()
                flushes += 1
                await asyncio.sleep(0.001)

    async with running(naps, provider=provider) as runtime, working(runtime, monkeypatch) as engine:
        flushing = asyncio.create_task(flush())
        emails = await signed_up(runtime)
        await until(lambda: _all(runtime, "waiting"))
        clock.advance(days(30))
        engine.runs.set()
        await until(lambda: _all(runtime, "completed"))
        await stop(flushing)
        assert flushes > 10
        assert each_once(provider) == {(email, word): 1 for email in emails for word in ("Welcome", "Bye")}


class Paced(MemoryProvider):
    """Takes messages, and answers a moment later: there is always something on the wire."""

    async def send(self, message: Message, *, idempotency_key: str) -> str:
        taken = await super().send(message, idempotency_key=idempotency_key)
        await asyncio.sleep(0.05)
        return taken


async def test_postgres_restarts_under_a_working_worker(
    own_stack: EmbeddedStack, settings: Settings, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = settings.model_copy(
        update={
            "database_url": own_stack.database_url,
            "redis_url": own_stack.redis_url,
            "worker_concurrency": 4,
        }
    )
    provider = Paced()
    async with open_runtime(
        mine, clock=clock, registry=Registry([naps]), templates=templates_of_tests(), provider=provider
    ) as runtime:
        await migrate(runtime.database)
        emails = await signed_up(runtime)
        async with working(runtime, monkeypatch) as engine:
            await _through_a_restart(own_stack, runtime, clock, provider, "Welcome")
            await until(lambda: _all(runtime, "waiting"))
            clock.advance(days(30))
            engine.runs.set()
            await _through_a_restart(own_stack, runtime, clock, provider, "Bye")
            await until(lambda: _all(runtime, "completed"))
        assert each_once(provider) == {(email, word): 1 for email in emails for word in ("Welcome", "Bye")}
        sent = await rows(runtime, "SELECT status, count(*) AS n FROM email_sends GROUP BY status")
        assert [(row.status, row.n) for row in sent] == [("sent", 2 * PEOPLE)]


async def _through_a_restart(
    stack: EmbeddedStack, runtime: Runtime, clock: ManualClock, provider: MemoryProvider, word: str
) -> None:
    """Stop and start Postgres while emails of that subject are on the wire, and see that all of them get there."""
    await until(lambda: _count(provider, word, 3))
    await _restart(stack)

    async def all_are_there() -> bool:
        # The leases of the slices that broke off run out.
        clock.advance(timedelta(seconds=5))
        return await _count(provider, word, PEOPLE)

    await until(all_are_there)


async def _restart(stack: EmbeddedStack) -> None:
    pid = stack.postgres.pid
    assert pid is not None
    os.kill(pid, signal.SIGINT)

    async def is_gone() -> bool:
        return stack.postgres.pid is None

    await until(is_gone)
    assert stack.revive() == ["postgres"]


async def _count(provider: MemoryProvider, word: str, least: int) -> bool:
    return sum(taken.message.subject.startswith(word) for taken in provider.accepted) >= least


async def _all(runtime: Runtime, status: str) -> bool:
    return set(await statuses(runtime)) == {status}


class Absent(EmbeddedEngine):
    """An engine that is down until it is told to come."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.down = True
        self.started: list[UUID] = []

    async def start_run(self, run_id: UUID, generation: int) -> str | None:
        if self.down:
            raise EngineDown("connection refused")
        self.started.append(run_id)
        return None


async def test_a_burst_of_events_while_the_engine_is_down(
    running: RunningWith, settings: Settings, clock: ManualClock
) -> None:
    """Every event is taken; when the engine is back it hears of every run, once. HOGSEND_BURST says how many."""
    provider = MemoryProvider()
    async with running(naps, provider=provider) as runtime:
        engine = Absent(runtime)
        publisher = Publisher(runtime, engine, {})
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(create_app(settings, runtime)),
            base_url="http://hogsend.test",
            headers={"Authorization": f"Bearer {ADMIN_KEY}"},
            timeout=60,
        ) as client:

            async def post(index: int) -> int:
                event = {"name": "signup", "userId": f"u{index}", "email": f"p{index}@example.com"}
                answer = await client.post("/v1/events", json=event)
                return answer.status_code

            publishing = [publisher.publish_due() for _ in range(3)]
            codes, *_ = await asyncio.gather(asyncio.gather(*map(post, range(BURST))), *publishing)
        assert Counter(codes) == {202: BURST}
        for _ in range(BURST // 100 + 1):
            await publisher.publish_due()
        assert engine.started == []
        tried = await rows(runtime, "SELECT count(*) AS n FROM outbox WHERE published_at IS NULL")
        assert tried[0].n == BURST

        engine.down = False
        assert await retry_now(runtime) == BURST
        while await publisher.publish_due():
            pass
        runs = await rows(runtime, "SELECT id FROM journey_states")
        assert sorted(engine.started) == sorted(row.id for row in runs)
        assert len(engine.started) == BURST
        await drive(runtime)
        assert set(each_once(provider).values()) == {1}
        assert len(provider.accepted) == BURST


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
