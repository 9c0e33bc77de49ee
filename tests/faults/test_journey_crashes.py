"""A worker that dies anywhere: each email once, each journal the same."""

from __future__ import annotations

import asyncio
import os
import random
from datetime import timedelta

import pytest

from hogsend import Context, User, days, journey, on
from hogsend.clock import ManualClock
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.execution.advance import advance
from tests.driving import (
    ADA,
    Crashed,
    crash_once_at,
    drive,
    drive_to_end,
    journal,
    rows,
    send_event,
    statuses,
    watching,
)
from tests.faults.providers import Slow
from tests.fixtures.journeys import RunningWith


@journey(id="under-test", trigger="signup", exit_on="unsubscribed")
async def under_test(user: User, ctx: Context) -> None:
    await ctx.send("welcome")
    await ctx.sleep(days(2))
    activated = await ctx.wait_for_event("activated", timeout=days(3))
    await ctx.checkpoint("after-wait")
    await ctx.send("congrats" if activated else "nudge", props={"note": activated.properties.get("plan", "")})
    await ctx.now()
    await ctx.send("bye")


async def run_through(running: RunningWith, clock: ManualClock, point: str | None, times: int, event: bool):
    """One person's whole journey, dying `times` times at `point`. Returns subjects sent, points seen, journal."""
    provider = MemoryProvider()
    async with running(under_test, provider=provider) as runtime:
        seen: list[str] = []
        if point is not None:
            seen = crash_once_at(runtime, point, times)
        else:
            runtime.fault_point = seen.append
        await _until_stored(runtime)
        await drive_to_end(runtime, clock, until=clock.now() + days(2.5))
        if event:
            clock.set(max(clock.now(), clock.now()))
            await _again(lambda: send_event(runtime, "activated", plan="pro"))
        await drive_to_end(runtime, clock)
        sent = [message.subject.split()[0] for message in provider.to(ADA)]
        return sent, seen, await journal(runtime), await statuses(runtime)


async def _again(call):
    for _ in range(5):
        try:
            return await call()
        except Crashed:
            continue
    raise AssertionError("crashed five times")


async def _until_stored(runtime) -> None:
    from hogsend.events.event import NewEvent
    from hogsend.ingestion.ingest import ingest

    await _again(lambda: ingest(runtime, NewEvent(name="signup", email=ADA, idempotency_key="first")))


# Every day each point is died at in one of the two runs, once or three times; `make test-all` has all of it.
@pytest.mark.parametrize("share", ["half", pytest.param("whole", marks=pytest.mark.slow)])
@pytest.mark.parametrize("event", [False, True], ids=["timeout", "event"])
async def test_crash_at_every_point_once_and_three_times(
    running: RunningWith, clock: ManualClock, clean_again, event: bool, share: str
) -> None:
    want, points, keys, ended = await run_through(running, clock, None, 0, event)
    assert want == ["Welcome", "Congrats" if event else "Nudge", "Bye"]
    assert ended == ["completed"]
    assert len(set(points)) > 20
    for index, point in enumerate(dict.fromkeys(points)):
        if share == "half" and index % 2 == event:
            continue
        for times in (1, 3) if share == "whole" else (1 + index // 2 % 2 * 2,):
            await clean_again()
            got = await run_through(running, clock, point, times, event)
            assert (got[0], got[2], got[3]) == (want, keys, ["completed"]), f"{point} x {times}"


async def test_two_deliveries_of_one_run_at_once(running: RunningWith) -> None:
    provider = MemoryProvider()
    async with running(under_test, provider=provider) as runtime:
        (enrollment,) = (await send_event(runtime, "signup")).enrollments
        assert enrollment.state_id is not None
        both = await asyncio.gather(*(advance(runtime, enrollment.state_id, f"w{i}") for i in range(5)))
        assert sorted({each.state for each in both}) in (["busy", "waiting"], ["waiting"])
        assert len(provider.accepted) == 1


async def test_a_worker_that_was_given_up_comes_back(running: RunningWith, clock: ManualClock) -> None:
    provider = Slow()
    async with running(under_test, provider=provider) as runtime:
        (enrollment,) = (await send_event(runtime, "signup")).enrollments
        zombie = asyncio.create_task(advance(runtime, enrollment.state_id, "zombie"))
        await provider.calling.wait()
        assert (await advance(runtime, enrollment.state_id, "second")).state == "busy"
        clock.advance(timedelta(minutes=2))
        second = await advance(runtime, enrollment.state_id, "second")
        provider.go_on.set()
        first = await zombie
        assert second.state == "waiting"
        assert first.state == "superseded"
        assert len(provider.accepted) == 1
        await drive_to_end(runtime, clock)
        assert [m.subject.split()[0] for m in provider.to(ADA)] == ["Welcome", "Nudge", "Bye"]


async def test_exit_during_a_send_stops_the_next_one(running: RunningWith, clock: ManualClock) -> None:
    provider = MemoryProvider()
    async with running(under_test, provider=provider) as runtime:
        for attempt in range(20):
            email = f"x{attempt}@example.com"
            await send_event(runtime, "signup", email=email)
        await drive(runtime)
        clock.advance(days(2))
        await drive(runtime)
        clock.advance(days(4))

        async def leave(index: int) -> None:
            await asyncio.sleep(random.random() * 0.05)
            await send_event(runtime, "unsubscribed", email=f"x{index}@example.com")

        await asyncio.gather(drive(runtime), *(leave(i) for i in range(20)))
        before = len(provider.accepted)
        await drive(runtime)
        assert len(provider.accepted) == before
        recorded = await rows(runtime, "SELECT count(*) AS n FROM email_sends WHERE message_id IS NOT NULL")
        assert recorded[0].n == before
        assert set(await statuses(runtime)) <= {"exited", "completed"}


async def test_wakes_are_never_lost_between_arming_and_parking(running: RunningWith) -> None:
    """An event races the wait for it: the event always wins, and at once. HOGSEND_RACES=1600 runs them all."""
    races = int(os.environ.get("HOGSEND_RACES", "80"))

    @journey(id="racer", trigger="start")
    async def racer(user: User, ctx: Context) -> None:
        arrived = await ctx.wait_for_event("go", timeout=days(1))
        await ctx.checkpoint("event" if arrived else "timeout")

    async with running(racer) as runtime:
        rng = random.Random(7)

        async def race(index: int) -> None:
            email = f"r{index}@example.com"
            (enrollment,) = (await send_event(runtime, "start", email=email)).enrollments

            async def push() -> None:
                await asyncio.sleep(rng.random() * 0.03)
                await send_event(runtime, "go", email=email)

            await asyncio.gather(advance(runtime, enrollment.state_id, "w"), push())

        for batch in range(0, races, 16):
            await asyncio.gather(*(race(batch + i) for i in range(16)))
        await drive(runtime)
        ends = await rows(
            runtime, "SELECT current_node, status, count(*) AS n FROM journey_states GROUP BY 1, 2"
        )
        assert [(r.current_node, r.status, r.n) for r in ends] == [("event", "completed", races)]


async def test_fifty_triggers_at_once_make_one_run(running: RunningWith, clock: ManualClock) -> None:
    async with running(under_test) as runtime:
        results = await asyncio.gather(*(send_event(runtime, "signup") for _ in range(50)))
        assert sum(e.enrolled for r in results for e in r.enrollments) == 1
        assert await statuses(runtime) == ["pending"]
        verdicts = await rows(
            runtime, "SELECT kind, count(*) AS n FROM decisions GROUP BY kind ORDER BY kind"
        )
        assert [(v.kind, v.n) for v in verdicts] == [("enrolled", 1), ("skipped", 49)]


async def test_changed_code_under_a_parked_run_blocks_it(running: RunningWith, clock: ManualClock) -> None:
    provider = MemoryProvider()
    async with running(under_test, provider=provider) as runtime:
        await send_event(runtime, "signup")
        await drive(runtime)

    @journey(id="under-test", trigger="signup")
    async def changed(user: User, ctx: Context) -> None:
        await ctx.send("nudge")
        await ctx.send("welcome")

    async with running(changed, provider=provider) as runtime:
        clock.advance(days(2))
        await drive(runtime)
        assert await statuses(runtime) == ["blocked"]
        assert [m.subject.split()[0] for m in provider.to(ADA)] == ["Welcome"]
        (letter,) = await rows(runtime, "SELECT source, error FROM dead_letters")
        assert letter.source == "journey"
        assert "send:welcome#1" in letter.error


async def test_an_author_who_swallows_everything_cannot_swallow_a_wait(
    running: RunningWith, clock: ManualClock
) -> None:
    @journey(id="greedy", trigger=on("signup"))
    async def greedy(user: User, ctx: Context) -> None:
        try:
            await ctx.sleep(days(1))
        except:  # noqa: E722
            await ctx.send("nudge")
        await ctx.send("welcome")

    provider = MemoryProvider()
    async with running(greedy, provider=provider) as runtime:
        await send_event(runtime, "signup")
        await drive(runtime)
        assert await statuses(runtime) == ["waiting"]
        assert provider.accepted == []
        await drive_to_end(runtime, clock)
        assert [m.subject.split()[0] for m in provider.to(ADA)] == ["Welcome"]


async def test_code_that_raises_fails_the_run_and_leaves_a_dead_letter(running: RunningWith) -> None:
    @journey(id="broken", trigger="signup")
    async def broken(user: User, ctx: Context) -> None:
        await ctx.send("welcome")
        raise KeyError("plan")

    async with running(broken) as runtime:
        await send_event(runtime, "signup")
        await drive(runtime)
        (state,) = await rows(runtime, "SELECT status, error FROM journey_states")
        assert state.status == "failed"
        assert "KeyError: 'plan'" in state.error
        assert len(await rows(runtime, "SELECT id FROM dead_letters WHERE source = 'journey'")) == 1


async def test_database_trouble_inside_a_step_is_not_the_authors_to_catch(
    running: RunningWith, clock: ManualClock
) -> None:
    @journey(id="careful", trigger="signup")
    async def careful(user: User, ctx: Context) -> None:
        try:
            await ctx.checkpoint("first")
        except Exception:
            await ctx.send("nudge")
        await ctx.send("welcome")

    provider = MemoryProvider()
    async with running(careful, provider=provider) as runtime:
        await send_event(runtime, "signup")
        failing = [True]

        def trouble(point: str) -> None:
            if point == "after_step:checkpoint:first#1" and failing:
                failing.pop()
                raise ConnectionError("the database went away")

        with watching(runtime, trouble):
            await drive_to_end(runtime, clock)
        assert [m.subject.split()[0] for m in provider.to(ADA)] == ["Welcome"]
        assert await statuses(runtime) == ["completed"]
