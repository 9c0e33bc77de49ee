"""Ingestion under faults: a 202 is a promise."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from hogsend import Context, User, days, journey
from hogsend.clock import ManualClock
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.engine.embedded import EmbeddedEngine
from hogsend.engine.publisher import Publisher
from hogsend.errors import InvalidInput
from hogsend.events.event import NewEvent
from hogsend.ingestion.ingest import ingest
from hogsend.ingestion.replay import replay
from tests.driving import ADA, Crashed, crash_once_at, drive, rows, send_event, statuses
from tests.fixtures.journeys import RunningWith


@journey(id="hello", trigger="signup", exit_on="left")
async def hello(user: User, ctx: Context) -> None:
    await ctx.send("welcome")
    await ctx.wait_for_event("go", timeout=days(1))


async def test_a_hundred_identical_keys_at_once_are_one_event(running: RunningWith) -> None:
    async with running(hello) as runtime:
        event = NewEvent(name="signup", email=ADA, idempotency_key="k1")
        results = await asyncio.gather(*(ingest(runtime, event) for _ in range(100)))
        assert sorted(r.stored for r in results) == [False] * 99 + [True]
        assert len({r.event_id for r in results}) == 1
        assert len(await rows(runtime, "SELECT id FROM user_events")) == 1
        assert len(await rows(runtime, "SELECT id FROM decisions")) == 1


async def test_a_repeated_key_changes_nothing_at_all(running: RunningWith, clock: ManualClock) -> None:
    async with running(hello) as runtime:
        await ingest(runtime, NewEvent(name="signup", email=ADA, idempotency_key="k1"))
        before = await rows(runtime, "SELECT * FROM contacts")
        clock.advance(timedelta(hours=1))
        again = NewEvent(name="left", email=ADA, idempotency_key="k1", contact_properties={"plan": "pro"})
        assert not (await ingest(runtime, again)).stored
        assert await rows(runtime, "SELECT * FROM contacts") == before
        assert await statuses(runtime) == ["pending"]


@pytest.mark.parametrize("point", ["ingest_after_event", "before_ingest_commit"])
async def test_a_crash_before_the_commit_leaves_nothing(running: RunningWith, point: str) -> None:
    async with running(hello) as runtime:
        crash_once_at(runtime, point)
        event = NewEvent(name="signup", email=ADA, idempotency_key="k1")
        with pytest.raises(Crashed):
            await ingest(runtime, event)
        for table in (
            "contacts",
            "user_events",
            "event_keys",
            "journey_states",
            "decisions",
            "outbox",
            "activity",
        ):
            assert await rows(runtime, f"SELECT 1 FROM {table}") == [], table
        assert (await ingest(runtime, event)).stored


async def test_a_crash_between_commit_and_publish_is_made_up_for_once(running: RunningWith) -> None:
    provider = MemoryProvider()
    async with running(hello, provider=provider) as runtime:
        crash_once_at(runtime, "after_ingest_commit")
        with pytest.raises(Crashed):
            await send_event(runtime, "signup")
        publisher = Publisher(runtime, EmbeddedEngine(runtime))
        crash_once_at(runtime, "before_outbox_marked")
        with pytest.raises(Crashed):
            await publisher.publish_due()
        assert await publisher.publish_due() == 1
        assert await publisher.publish_due() == 0
        await drive(runtime)
        assert len(provider.accepted) == 1


async def test_events_taken_in_while_no_worker_runs_are_all_handled_after(running: RunningWith) -> None:
    provider = MemoryProvider()
    async with running(hello, provider=provider) as runtime:
        for batch in range(4):
            await asyncio.gather(
                *(send_event(runtime, "signup", email=f"p{batch}-{i}@example.com") for i in range(15))
            )
        assert provider.accepted == []
        await drive(runtime)
        assert len({a.message.to for a in provider.accepted}) == len(provider.accepted) == 60


async def test_a_poison_outbox_row_blocks_nobody_behind_it(running: RunningWith, clock: ManualClock) -> None:
    class Choking(EmbeddedEngine):
        async def start_run(self, run_id, generation):
            if not started:
                started.append(run_id)
                raise RuntimeError("poison")
            started.append(run_id)
            return

    started: list[object] = []
    async with running(hello) as runtime:
        for index in range(3):
            await send_event(runtime, "signup", email=f"p{index}@example.com")
        publisher = Publisher(runtime, Choking(runtime))
        await publisher.publish_due()
        assert len(set(started)) == 3
        left = await rows(runtime, "SELECT attempts, error FROM outbox WHERE published_at IS NULL")
        assert [(row.attempts, row.error) for row in left] == [(1, "RuntimeError: poison")]
        clock.advance(timedelta(seconds=10))
        assert await publisher.publish_due() == 1
        assert await rows(runtime, "SELECT 1 FROM outbox WHERE published_at IS NULL") == []


async def test_backdated_and_early_events_are_kept_as_told(running: RunningWith, clock: ManualClock) -> None:
    async with running(hello) as runtime:
        now = clock.now()
        for offset in (timedelta(days=-800), timedelta(hours=1), timedelta(0)):
            event = NewEvent(name="seen", email=ADA, occurred_at=now + offset)
            await ingest(runtime, event)
        stored = await rows(runtime, "SELECT occurred_at - received_at AS d FROM user_events ORDER BY seq")
        assert [row.d for row in stored] == [timedelta(days=-800), timedelta(hours=1), timedelta(0)]


async def test_an_event_that_comes_before_the_run_reaches_its_wait_counts(
    running: RunningWith, clock: ManualClock
) -> None:
    """`go` arrives after the trigger and before the run ever started."""

    @journey(id="waits", trigger="start")
    async def waits(user: User, ctx: Context) -> None:
        arrived = await ctx.wait_for_event("go", timeout=days(1))
        await ctx.checkpoint("event" if arrived else "timeout")

    async with running(waits) as runtime:
        await send_event(runtime, "start")
        await send_event(runtime, "go")
        await send_event(runtime, "go")
        await drive(runtime)
        (state,) = await rows(runtime, "SELECT current_node, status FROM journey_states")
        assert (state.current_node, state.status) == ("event", "completed")


async def test_an_event_between_two_waits_is_not_counted_twice(
    running: RunningWith, clock: ManualClock
) -> None:
    @journey(id="two-waits", trigger="start")
    async def two_waits(user: User, ctx: Context) -> None:
        first = await ctx.wait_for_event("go", timeout=days(1), label="first")
        second = await ctx.wait_for_event("go", timeout=days(1), label="second")
        await ctx.checkpoint(f"{first.properties.get('n')}-{second.properties.get('n')}")

    async with running(two_waits) as runtime:
        await send_event(runtime, "start")
        await send_event(runtime, "go", n=1)
        await drive(runtime)
        assert await statuses(runtime) == ["waiting"]
        await send_event(runtime, "go", n=2)
        await drive(runtime)
        (state,) = await rows(runtime, "SELECT current_node, status FROM journey_states")
        assert (state.current_node, state.status) == ("1-2", "completed")


@pytest.mark.parametrize(
    ("offset", "reached"), [(timedelta(0), "event"), (timedelta(microseconds=1), "timeout")]
)
async def test_an_event_at_the_instant_of_the_timeout(
    running: RunningWith, clock: ManualClock, offset: timedelta, reached: str
) -> None:
    @journey(id="punctual", trigger="start")
    async def punctual(user: User, ctx: Context) -> None:
        arrived = await ctx.wait_for_event("go", timeout=days(1))
        await ctx.checkpoint("event" if arrived else "timeout")

    async with running(punctual) as runtime:
        await send_event(runtime, "start")
        await drive(runtime)
        clock.advance(days(1) + offset)
        await send_event(runtime, "go")
        await drive(runtime)
        (state,) = await rows(runtime, "SELECT current_node FROM journey_states")
        assert state.current_node == reached


async def test_a_replayed_event_is_not_stored_again_and_guards_hold(
    running: RunningWith, clock: ManualClock
) -> None:
    async with running(hello) as runtime:
        first = await send_event(runtime, "signup")
        again = await replay(runtime, first.event_id)
        assert [(e.enrolled, e.reason.value) for e in again.enrollments] == [(False, "already_in_journey")]
        assert len(await rows(runtime, "SELECT 1 FROM user_events")) == 1
        kinds = await rows(runtime, "SELECT kind, detail ? 'replayed' AS again FROM decisions ORDER BY seq")
        assert [(k.kind, k.again) for k in kinds] == [("enrolled", False), ("skipped", True)]


async def test_an_event_that_is_replayed_twice_at_once_starts_one_run(running: RunningWith) -> None:
    """It came before the journey was written."""
    async with running() as runtime:
        first = await send_event(runtime, "signup")
    provider = MemoryProvider()
    async with running(hello, provider=provider) as runtime:
        results = await asyncio.gather(*(replay(runtime, first.event_id) for _ in range(4)))
        assert sorted(each.enrolled for result in results for each in result.enrollments) == [False] * 3 + [
            True
        ]
        await drive(runtime)
        assert len(provider.accepted) == 1


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (NewEvent(name="", email=ADA), "name"),
        (NewEvent(name="x\x00y", email=ADA), "name"),
        (NewEvent(name="signup"), "email"),
        (NewEvent(name="signup", email="not an address"), "email"),
        (NewEvent(name="signup", email=ADA, properties={"a": "\ud800"}), "eventProperties.a"),
        (NewEvent(name="signup", email=ADA, properties={"a": {"b": ["\x00"]}}), "eventProperties.a.b.0"),
        (
            NewEvent(name="signup", email=ADA, contact_properties={"big": "x" * 2_000_000}),
            "contactProperties",
        ),
        (NewEvent(name="signup", email=ADA, properties={"n": float("nan")}), "eventProperties.n"),
    ],
)
async def test_bad_input_names_its_field_and_stores_nothing(
    running: RunningWith, event: NewEvent, field: str
) -> None:
    async with running(hello) as runtime:
        with pytest.raises(InvalidInput) as caught:
            await ingest(runtime, event)
        assert caught.value.field == field
        assert await rows(runtime, "SELECT 1 FROM contacts") == []
