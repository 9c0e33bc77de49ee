"""Journeys that trigger one another's events: a circle ends, and a decision says why."""

from __future__ import annotations

from datetime import timedelta

from hogsend import Context, User, journey
from hogsend.clock import ManualClock
from hogsend.enrollment.on_event import MOST_CHAINED
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


async def test_journeys_that_start_one_another_once_a_day_are_no_circle(
    running: RunningWith, clock: ManualClock
) -> None:
    async with running(even, odd) as runtime:
        await send_event(runtime, "even")
        await drive_to_end(runtime, clock, until=clock.now() + timedelta(days=20))
        counted = await rows(runtime, "SELECT count(*) AS runs FROM journey_states")
        assert counted[0].runs > MOST_CHAINED + 5
        assert not await rows(runtime, "SELECT kind FROM decisions WHERE reason = 'trigger_chain_too_long'")
