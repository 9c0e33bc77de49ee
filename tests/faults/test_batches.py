"""Batches under faults: each event whole or not at all, once, and 202 is a promise."""

from __future__ import annotations

import asyncio

import pytest

from hogsend import Context, User, days, journey
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.events.event import NewEvent
from hogsend.ingestion.batch import ingest_batch
from hogsend.ingestion.ingest import ingest
from hogsend.ingestion.pipeline import IngestResult
from hogsend.settings import Settings
from hogsend.storage.unreachable import unreachable
from tests.driving import Crashed, crash_once_at, drive, rows
from tests.fixtures.journeys import RunningWith

TABLES = ("contacts", "user_events", "event_keys", "journey_states", "decisions", "outbox", "activity")


@journey(id="hello", trigger="signup", exit_on="left")
async def hello(user: User, ctx: Context) -> None:
    await ctx.send("welcome")
    await ctx.wait_for_event("go", timeout=days(1))


def signups(count: int, mark: str = "p") -> list[NewEvent]:
    return [
        NewEvent("signup", email=f"{mark}{n}@example.com", idempotency_key=f"{mark}{n}") for n in range(count)
    ]


@pytest.mark.parametrize("point", ["ingest_after_event", "before_ingest_commit"])
async def test_a_crash_before_the_commit_leaves_nothing_of_a_wave(running: RunningWith, point: str) -> None:
    async with running(hello) as runtime:
        crash_once_at(runtime, point)
        with pytest.raises(Crashed):
            await ingest_batch(runtime, signups(20))
        for table in TABLES:
            assert await rows(runtime, f"SELECT 1 FROM {table}") == [], table
        answers = await ingest_batch(runtime, signups(20))
        assert all(isinstance(one, IngestResult) and one.stored for one in answers)


async def test_a_batch_again_after_a_crash_behind_a_wave_stores_what_is_left(running: RunningWith) -> None:
    """The second event of the person is in the second wave."""
    provider = MemoryProvider()
    async with running(hello, provider=provider) as runtime:
        events = [*signups(10), NewEvent("left", email="p3@example.com", idempotency_key="left")]
        crash_once_at(runtime, "after_ingest_commit")
        with pytest.raises(Crashed):
            await ingest_batch(runtime, events)
        answers = await ingest_batch(runtime, events)
        stored = [one.stored for one in answers if isinstance(one, IngestResult)]
        assert stored == [False] * 10 + [True]
        assert len(await rows(runtime, "SELECT 1 FROM user_events")) == 11
        await drive(runtime)
        assert len(provider.accepted) == 9


async def test_a_crash_of_a_wave_is_told_to_all_in_it_and_the_next_goes_on(running: RunningWith) -> None:
    async with running(hello) as runtime:
        crash_once_at(runtime, "before_ingest_commit")
        told = await asyncio.gather(*(ingest(runtime, one) for one in signups(10)), return_exceptions=True)
        crashed = sum(isinstance(one, Crashed) for one in told)
        assert 0 < crashed <= 10
        assert len(await rows(runtime, "SELECT 1 FROM user_events")) == 10 - crashed
        again = await asyncio.gather(*(ingest(runtime, one) for one in signups(10)))
        assert sum(one.stored for one in again) == crashed


async def test_batches_of_the_same_events_at_once_store_each_once(running: RunningWith) -> None:
    """In opposite orders, with their keys too: no two wait for each other in a circle."""
    async with running(hello) as runtime:
        events = signups(100)
        told = await asyncio.gather(
            *(ingest_batch(runtime, events if number % 2 else events[::-1]) for number in range(6))
        )
        stored = sum(one.stored for answers in told for one in answers if isinstance(one, IngestResult))
        assert stored == 100
        assert not [one for answers in told for one in answers if not isinstance(one, IngestResult)]
        for table in ("contacts", "user_events", "event_keys", "journey_states"):
            assert len(await rows(runtime, f"SELECT 1 FROM {table}")) == 100, table


async def test_ten_thousand_events_in_a_burst_of_batches_are_all_there(running: RunningWith) -> None:
    async with running(hello) as runtime:
        bursts = [signups(1_000, f"b{number}-") for number in range(10)]
        told = await asyncio.gather(*(ingest_batch(runtime, burst) for burst in bursts))
        assert all(isinstance(one, IngestResult) and one.stored for answers in told for one in answers)
        (counts,) = await rows(
            runtime,
            "SELECT (SELECT count(*) FROM user_events) AS events, (SELECT count(*) FROM contacts) AS contacts,"
            " (SELECT count(*) FROM decisions WHERE kind = 'enrolled') AS enrolled,"
            " (SELECT count(*) FROM outbox WHERE topic = 'run.start') AS starts",
        )
        assert tuple(counts) == (10_000,) * 4


async def test_a_batch_is_refused_as_a_whole_while_postgres_is_away(
    running: RunningWith, settings: Settings
) -> None:
    settings.database_url = "postgresql://nobody:nothing@127.0.0.1:1/none"
    async with running(hello) as runtime:
        with pytest.raises(OSError) as caught:
            await ingest_batch(runtime, signups(3))
        assert unreachable(caught.value)


async def test_events_behind_an_outage_say_so_and_those_before_it_are_kept(running: RunningWith) -> None:
    async with running(hello) as runtime:

        def outage(point: str) -> None:
            if point == "ingest_after_event" and committed:
                raise ConnectionResetError
            if point == "after_ingest_commit":
                committed.append(point)

        committed: list[str] = []
        runtime.fault_point = outage
        answers = await ingest_batch(runtime, [*signups(3), NewEvent("signup", email="p1@example.com")])
        stored = [one.stored if isinstance(one, IngestResult) else type(one) for one in answers]
        assert stored == [True, True, True, ConnectionResetError]
        assert len(await rows(runtime, "SELECT 1 FROM user_events")) == 3
