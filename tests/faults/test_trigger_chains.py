"""Journeys that trigger one another's events: a circle ends, and a decision says why."""

from __future__ import annotations

from datetime import timedelta

from hogsend import Context, User, journey
from hogsend.clock import ManualClock
from hogsend.enrollment.trigger_chains import MOST_CHAINED, MOST_CHAINED_IN_ALL
from tests.driving import drive, drive_to_end, rows, send_event
from tests.fixtures.journeys import RunningWith


@journey(id="ping", trigger="ping", entry="unlimited")
async def ping(user: User, ctx: Context) -> None:
    await ctx.trigger("pong")


@journey(id="pong", trigger="pong", entry="unlimited")
async def pong(user: User, ctx: Context) -> None:
    await ctx.trigger("ping")


@journey(id="even", trigger="even", entry="unlimited")
async def even(user: User, ctx: Context) -> None:
    await ctx.sleep(timedelta(days=1))
    await ctx.trigger("odd")


@journey(id="odd", trigger="odd", entry="unlimited")
async def odd(user: User, ctx: Context) -> None:
    await ctx.sleep(timedelta(days=1))
    await ctx.trigger("even")


async def test_a_circle_ends_with_a_decision_that_says_so(running: RunningWith) -> None:
    async with running(ping, pong) as runtime:
        await send_event(runtime, "ping")
        await drive(runtime)
        counted = await rows(runtime, "SELECT count(*) AS runs FROM journey_states")
        assert counted[0].runs == MOST_CHAINED + 1
        told = await rows(
            runtime, "SELECT kind, detail FROM decisions WHERE reason = 'trigger_chain_too_long'"
        )
        assert [row.kind for row in told] == ["skipped"]
        assert told[0].detail["guards"][0]["actual"] == "this is number 11"
        depths = await rows(runtime, "SELECT depth FROM user_events ORDER BY seq")
        assert [row.depth for row in depths] == list(range(MOST_CHAINED + 2))


async def test_a_circle_that_rests_a_day_each_time_ends_too_and_says_so(
    running: RunningWith, clock: ManualClock
) -> None:
    async with running(even, odd) as runtime:
        await send_event(runtime, "even")
        await drive_to_end(runtime, clock, until=clock.now() + timedelta(days=MOST_CHAINED_IN_ALL + 20))
        counted = await rows(runtime, "SELECT count(*) AS runs FROM journey_states")
        assert counted[0].runs == MOST_CHAINED_IN_ALL + 1
        told = await rows(
            runtime, "SELECT kind, detail FROM decisions WHERE reason = 'trigger_chain_too_long'"
        )
        assert [row.kind for row in told] == ["skipped"]
        assert told[0].detail["guards"][0]["actual"] == f"this is number {MOST_CHAINED_IN_ALL + 1}"
        await send_event(runtime, "even")
        assert await drive(runtime), "what comes from outside begins a new chain"


@journey(id="asker", trigger="begin", entry="unlimited")
async def asker(user: User, ctx: Context) -> None:
    while True:
        await ctx.trigger("question")
        if (await ctx.wait_for_event("answer", timeout=timedelta(hours=1))).timed_out:
            return


@journey(id="answerer", trigger="begin", entry="unlimited")
async def answerer(user: User, ctx: Context) -> None:
    while True:
        heard = await ctx.digest("question", window=timedelta(minutes=1))
        if not heard:
            return
        await ctx.trigger("answer")


async def test_two_runs_that_wait_for_one_anothers_events_end_too(
    running: RunningWith, clock: ManualClock
) -> None:
    async with running(answerer, asker) as runtime:
        await send_event(runtime, "begin")
        await drive_to_end(runtime, clock, until=clock.now() + timedelta(days=2))
        chained = await rows(runtime, "SELECT depth, chain FROM user_events ORDER BY seq")
        assert [row.depth for row in chained] == list(range(MOST_CHAINED + 2))
        assert [row.chain for row in chained] == list(range(MOST_CHAINED + 2))
        told = await rows(
            runtime,
            "SELECT state_id, detail FROM decisions WHERE reason = 'trigger_chain_too_long'"
            " AND state_id IS NOT NULL",
        )
        assert told[0].detail["event_id"] is None
        assert told[0].detail["guards"][0]["actual"] == f"this is number {MOST_CHAINED + 2}"
        ended = await rows(runtime, "SELECT status FROM journey_states")
        assert [row.status for row in ended] == ["completed", "completed"]
