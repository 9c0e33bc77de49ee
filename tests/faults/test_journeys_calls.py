"""`ctx.once` calls the author's own function: one that hangs, and one whose run was ended before."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from hogsend import Context, StepFailed, User, journey, minutes, seconds
from hogsend.journeys.errors import JourneyError
from hogsend.operations.cancel import cancel
from hogsend.runtime import Runtime
from hogsend.testing import rehearse
from tests.driving import drive, journal, rows, send_event, statuses
from tests.fixtures.journeys import RunningWith


async def test_a_call_that_hangs_is_cancelled_and_the_run_goes_on(running: RunningWith) -> None:
    calls: list[str] = []

    async def hangs() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            calls.append("cancelled")
            raise

    @journey(id="calls-out", trigger="signup")
    async def calls_out(user: User, ctx: Context) -> None:
        try:
            await ctx.once("coupon", hangs, timeout=seconds(0.05))
        except StepFailed as failure:
            await ctx.checkpoint(str(failure))

    async with running(calls_out) as runtime:
        await send_event(runtime, "signup")
        await drive(runtime)
        assert await statuses(runtime) == ["completed"]
        assert (await journal(runtime))[-1] == "checkpoint:it was not done within 0.05 seconds#1"
        assert calls == ["cancelled"]


async def test_a_timeout_of_the_authors_own_is_told_as_theirs(running: RunningWith) -> None:
    async def gives_up() -> None:
        raise TimeoutError("the shop is slow")

    @journey(id="calls-out", trigger="signup")
    async def calls_out(user: User, ctx: Context) -> None:
        await ctx.once("coupon", gives_up)

    async with running(calls_out) as runtime:
        await send_event(runtime, "signup")
        await drive(runtime)
        (state,) = await rows(runtime, "SELECT status, error FROM journey_states")
        assert state.status == "failed"
        assert state.error.startswith("StepFailed: TimeoutError: the shop is slow (in calls_out")


async def test_nobody_else_takes_the_run_while_its_call_is_under_way(running: RunningWith) -> None:
    """A call may take longer than a run is held for otherwise."""
    held: list[float] = []

    async def looks() -> None:
        (run,) = await rows(runtime, "SELECT lease_until FROM journey_states")
        held.append((run.lease_until - runtime.clock.wall()).total_seconds())

    @journey(id="calls-out", trigger="signup")
    async def calls_out(user: User, ctx: Context) -> None:
        await ctx.once("look", looks, timeout=minutes(2))

    async with running(calls_out) as runtime:
        await send_event(runtime, "signup")
        await drive(runtime)
        assert held == [180.0]


async def test_nothing_is_called_for_a_run_that_was_ended(running: RunningWith) -> None:
    calls: list[str] = []

    async def coupon() -> None:
        calls.append("coupon")

    async def operator(runtime: Runtime, run_id: UUID) -> None:
        await cancel(runtime, run_id)

    @journey(id="calls-out", trigger="signup")
    async def calls_out(user: User, ctx: Context) -> None:
        await operator(runtime, run_id)
        await ctx.once("coupon", coupon)

    async with running(calls_out) as runtime:
        (enrollment,) = (await send_event(runtime, "signup")).enrollments
        assert enrollment.state_id is not None
        run_id = enrollment.state_id
        await drive(runtime)
        assert await statuses(runtime) == ["exited"]
        assert calls == []


@pytest.mark.parametrize("timeout", [minutes(0), minutes(3)])
def test_a_call_may_take_two_minutes_at_most(timeout: timedelta) -> None:
    async def coupon() -> None: ...

    @journey(id="calls-out", trigger="signup")
    async def calls_out(user: User, ctx: Context) -> None:
        await ctx.once("coupon", coupon, timeout=timeout)

    with pytest.raises(JourneyError, match="at most 120 seconds"):
        rehearse(calls_out)
