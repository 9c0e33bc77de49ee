"""Journeys and the calendar, and clocks that are wrong."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from hogsend import Context, User, days, hours, journey, when
from hogsend.clock import ManualClock
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.engine.crons import run_cron
from hogsend.events.event import NewEvent
from hogsend.execution.advance import advance
from hogsend.ingestion.ingest import ingest
from hogsend.journeys.schedule import Moment
from hogsend.operations.stuck_runs import resume_in
from tests.driving import (
    ADA,
    Crashed,
    crash_once_at,
    drive,
    drive_to_end,
    expire_leases,
    journal,
    rows,
    send_event,
    statuses,
)
from tests.faults.providers import Slow
from tests.fixtures.journeys import RunningWith
from worker.work import SCHEDULE


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "starts", "sleep", "wakes"),
    [
        # The night of 8 March 2026 has 23 hours in New York: a length of time does not care, a time of day does.
        ("America/New_York", "2026-03-07T14:00", days(1), "2026-03-08T14:00"),
        ("America/New_York", "2026-03-07T14:00", when.tomorrow(at="09:00"), "2026-03-08T13:00"),
        ("America/New_York", "2026-03-07T14:00", when.tomorrow(at="02:30"), "2026-03-08T07:30"),
        # 1 November has 25.
        ("America/New_York", "2026-10-31T13:00", days(1), "2026-11-01T13:00"),
        ("America/New_York", "2026-10-31T13:00", when.tomorrow(at="09:00"), "2026-11-01T14:00"),
        ("America/New_York", "2026-10-31T13:00", when.tomorrow(at="01:30"), "2026-11-01T05:30"),
        ("Europe/Brussels", "2028-02-28T12:00", days(1), "2028-02-29T12:00"),
        ("Europe/Brussels", "2028-02-28T12:00", when.tomorrow(at="09:00"), "2028-02-29T08:00"),
        ("Europe/Brussels", "2027-02-28T12:00", when.tomorrow(at="09:00"), "2027-03-01T08:00"),
        ("Europe/Brussels", "2028-02-29T12:00", days(366), "2029-03-01T12:00"),
        ("Pacific/Auckland", "2026-12-30T20:00", when.tomorrow(at="09:00"), "2026-12-31T20:00"),
        ("Asia/Kolkata", "2026-12-31T18:00", when.in_days(1, at="00:15"), "2026-12-31T18:45"),
        ("Asia/Kolkata", "2026-12-31T19:00", when.in_days(1, at="00:15"), "2027-01-01T18:45"),
        ("Europe/Brussels", "2026-12-31T22:59", when.next("friday", at="00:00"), "2026-12-31T23:00"),
        ("no such zone", "2026-03-07T14:00", when.tomorrow(at="09:00"), "2026-03-08T09:00"),
    ],
)
async def test_a_sleep_ends_when_people_would_say_it_does(
    running: RunningWith,
    clock: ManualClock,
    zone: str,
    starts: str,
    sleep: timedelta | Moment,
    wakes: str,
) -> None:
    @journey(id="sleeper", trigger="start")
    async def sleeper(user: User, ctx: Context) -> None:
        if isinstance(sleep, timedelta):
            await ctx.sleep(sleep)
        else:
            await ctx.sleep_until(sleep)
        await ctx.now()

    clock.set(utc(starts))
    async with running(sleeper) as runtime:
        await ingest(runtime, NewEvent(name="start", email=ADA, contact_properties={"timezone": zone}))
        await drive(runtime)
        (state,) = await rows(runtime, "SELECT wake_at FROM journey_states")
        assert state.wake_at == utc(wakes)
        clock.set(utc(wakes) - timedelta(microseconds=1))
        await drive(runtime)
        assert await statuses(runtime) == ["waiting"]
        # The person moves while the journey sleeps: it was meant where they were.
        await ingest(
            runtime, NewEvent(name="moved", email=ADA, contact_properties={"timezone": "Asia/Tokyo"})
        )
        clock.set(utc(wakes))
        await drive(runtime)
        assert await statuses(runtime) == ["completed"]
        (now,) = await rows(runtime, "SELECT result FROM journey_steps WHERE kind = 'now'")
        assert datetime.fromisoformat(now.result) == utc(wakes)


@journey(id="long-wait", trigger="start")
async def long_wait(user: User, ctx: Context) -> None:
    found = await ctx.wait_for_event("go", timeout=days(40))
    await ctx.checkpoint("timed out" if found.timed_out else f"came on {found.occurred_at:%d %B}")


async def test_a_wait_of_forty_days(running: RunningWith, clock: ManualClock) -> None:
    began = clock.now()
    async with running(long_wait) as runtime:
        await send_event(runtime, "start", email="early@example.com")
        await send_event(runtime, "start", email="never@example.com")
        await drive(runtime)
        for day in range(1, 40):
            clock.set(began + days(day))
            assert await drive(runtime) == []
        await send_event(runtime, "go", email="early@example.com")
        await drive(runtime)
        assert sorted(await statuses(runtime)) == ["completed", "waiting"]
        clock.set(began + days(40))
        await drive(runtime)
        assert await statuses(runtime) == ["completed", "completed"]
        reached = await rows(runtime, "SELECT current_node FROM journey_states ORDER BY email")
        assert [row.current_node for row in reached] == ["came on 23 February", "timed out"]


@journey(id="clocked", trigger="signup")
async def clocked(user: User, ctx: Context) -> None:
    await ctx.send("welcome")
    await ctx.sleep(hours(6))
    await ctx.send("nudge")
    await ctx.wait_for_event("activated", timeout=hours(6))
    await ctx.send("bye")


@pytest.mark.parametrize("off", [days(1), days(-1)], ids=["ahead", "behind"])
async def test_a_worker_whose_clock_is_a_day_off_until_it_is_set_right(
    running: RunningWith, clock: ManualClock, off: timedelta
) -> None:
    """It works early or late; nothing is lost, repeated or out of order."""
    provider = MemoryProvider()
    async with running(clocked, provider=provider) as api, running(clocked, provider=provider) as worker:
        wrong = ManualClock(clock.now() + off)
        worker.clock = wrong
        for index in range(5):
            await send_event(api, "signup", email=f"p{index}@example.com")
        for _ in range(3):
            await drive(worker)
            wrong.advance(hours(2))
            clock.advance(hours(2))
        worker.clock = clock
        await drive_to_end(worker, clock)
        assert set(await statuses(api)) == {"completed"}
        for index in range(5):
            subjects = [m.subject.split()[0] for m in provider.to(f"p{index}@example.com")]
            assert subjects == ["Welcome", "Nudge", "Bye"]


async def test_what_a_dead_worker_left_whose_clock_was_a_day_ahead_is_taken_up_today(
    running: RunningWith, clock: ManualClock
) -> None:
    """Its crons ran tomorrow, its leases end then, and its email was due then."""
    watchdog = next(cron for cron in SCHEDULE if cron.name == "watchdog")
    provider = MemoryProvider()
    async with running(clocked, provider=provider) as right, running(clocked, provider=provider) as ahead:
        ahead.clock = ManualClock(clock.now() + days(1))
        await send_event(right, "signup")
        assert await run_cron(ahead, watchdog)
        crash_once_at(ahead, "after_provider_call")
        with pytest.raises(Crashed):
            await drive(ahead, ahead.owner)
        assert await run_cron(right, watchdog)
        await drive(right)
        assert [m.subject.split()[0] for m in provider.to(ADA)] == ["Welcome"]
        assert await journal(right) == ["send:welcome#1", "sleep:6h#1"]


@pytest.mark.parametrize("ahead", [hours(20), hours(24)], ids=["hours", "a day"])
async def test_a_second_worker_that_is_ahead_takes_over_too_early(
    running: RunningWith, clock: ManualClock, ahead: timedelta
) -> None:
    """To it every lease has run out. The one that it takes a run from is fenced, and the send's key holds.

    Where it thinks that the provider has forgotten the key, it leaves the send to a person; the answer comes
    meanwhile to the one that was fenced, and closes the step.
    """
    provider = Slow()
    async with running(clocked, provider=provider) as one, running(clocked, provider=provider) as other:
        other.clock = ManualClock(clock.now() + ahead)
        (enrollment,) = (await send_event(one, "signup")).enrollments
        assert enrollment.state_id is not None
        slow = asyncio.create_task(advance(one, enrollment.state_id, "one"))
        await provider.calling.wait()
        early = await advance(other, enrollment.state_id, "other")
        provider.go_on.set()
        assert (await slow).state == "superseded"
        if ahead == days(1):
            assert early.status == "blocked"
            async with one.database.transaction() as conn:
                await resume_in(conn, one, enrollment.state_id)
        await expire_leases(one)
        clock.advance(days(2))
        await drive_to_end(one, clock)
        assert [m.subject.split()[0] for m in provider.to(ADA)] == ["Welcome", "Nudge", "Bye"]
        assert provider.calls[provider.accepted[0].idempotency_key] == (2 if ahead < days(1) else 1)
        assert await journal(one) == [
            "send:welcome#1",
            "sleep:6h#1",
            "send:nudge#1",
            "wait:activated#1",
            "send:bye#1",
        ]
