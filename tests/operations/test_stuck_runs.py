"""Runs that their code no longer fits: resumed, skipped, cancelled, or ended by an event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend import Context, Journey, User, days, journey
from hogsend.clock import ManualClock
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.errors import Conflict
from hogsend.operations.cancel import cancel_in
from hogsend.operations.stuck_runs import resume_in, skip_in
from hogsend.runtime import Runtime
from tests.driving import ADA, drive, drive_to_end, journal, reasons, rows, send_event, statuses
from tests.fixtures.journeys import RunningWith

TEMPLATES = Path(__file__).parent.parent / "templates"

Move = Callable[[AsyncConnection, Runtime, Any], Awaitable[object]]


@journey(id="course", trigger="signup", entry="unlimited", exit_on="left")
async def course(user: User, ctx: Context) -> None:
    await ctx.send("welcome")
    found = await ctx.wait_for_event("activated", timeout=days(3))
    await ctx.checkpoint("timed out" if found.timed_out else "activated")
    await ctx.send("bye")


@journey(id="course", trigger="signup", entry="unlimited", exit_on="left")
async def longer_wait(user: User, ctx: Context) -> None:
    await ctx.send("welcome")
    found = await ctx.wait_for_event("activated", timeout=days(5))
    await ctx.checkpoint("timed out" if found.timed_out else "activated")
    await ctx.send("bye")


@journey(id="course", trigger="signup", entry="unlimited", exit_on="left")
async def nudge_first(user: User, ctx: Context) -> None:
    await ctx.send("nudge")
    await ctx.send("welcome")
    await ctx.send("bye")


async def run_id(runtime: Runtime) -> Any:
    (state,) = await rows(runtime, "SELECT id FROM journey_states")
    return state.id


async def move(runtime: Runtime, how: Move) -> None:
    async with runtime.database.transaction() as conn:
        await how(conn, runtime, await run_id(runtime))


async def refused(runtime: Runtime, how: Move) -> str:
    with pytest.raises(Conflict) as caught:
        await move(runtime, how)
    return caught.value.code


async def letters(runtime: Runtime) -> dict[str, str]:
    found = await rows(runtime, "SELECT source, status FROM dead_letters")
    return {letter.source: letter.status for letter in found}


def subjects(provider: MemoryProvider) -> list[str]:
    return [message.subject.split()[0] for message in provider.to(ADA)]


async def block_by(
    running: RunningWith, clock: ManualClock, provider: MemoryProvider, code: Journey | None
) -> None:
    """Let a run of `course` wait, deploy other code, and wake it by the wait's own timeout."""
    async with running(course, provider=provider) as runtime:
        await send_event(runtime, "signup")
        await drive(runtime)
        clock.advance(timedelta(hours=1))
    async with running(*([code] if code else []), provider=provider) as runtime:
        async with runtime.database.transaction() as conn:
            await conn.exec_driver_sql("UPDATE journey_states SET wake_at = created_at")
        await drive(runtime)
        assert await statuses(runtime) == ["blocked"]
        assert await letters(runtime) == {"journey": "pending"}


async def test_resumed_with_the_earlier_code_a_run_hears_what_it_waits_for(
    running: RunningWith, clock: ManualClock
) -> None:
    provider = MemoryProvider()
    await block_by(running, clock, provider, longer_wait)
    async with running(course, provider=provider) as runtime:
        await move(runtime, resume_in)
        assert await letters(runtime) == {"journey": "retried"}
        await drive(runtime)
        assert await statuses(runtime) == ["waiting"]
        await send_event(runtime, "activated")
        await drive(runtime)
        assert await statuses(runtime) == ["completed"]
        assert "checkpoint:activated#1" in await journal(runtime)
        assert subjects(provider) == ["Welcome", "Bye"]


async def test_what_a_run_waits_for_may_come_while_it_is_blocked(
    running: RunningWith, clock: ManualClock
) -> None:
    provider = MemoryProvider()
    await block_by(running, clock, provider, longer_wait)
    async with running(course, provider=provider) as runtime:
        await send_event(runtime, "activated")
        clock.advance(days(9))
        await send_event(runtime, "activated")
        await move(runtime, resume_in)
        await drive(runtime)
        assert "checkpoint:activated#1" in await journal(runtime)


async def test_resumed_with_the_same_code_a_run_is_blocked_again(
    running: RunningWith, clock: ManualClock
) -> None:
    await block_by(running, clock, MemoryProvider(), longer_wait)
    async with running(longer_wait) as runtime:
        await move(runtime, resume_in)
        await drive(runtime)
        assert await statuses(runtime) == ["blocked"]
        (letter,) = await rows(runtime, "SELECT status, retry_count FROM dead_letters")
        assert (letter.status, letter.retry_count) == ("pending", 1)


async def test_skipping_changed_code_lets_the_new_code_decide(
    running: RunningWith, clock: ManualClock
) -> None:
    provider = MemoryProvider()
    await block_by(running, clock, provider, longer_wait)
    async with running(longer_wait, provider=provider) as runtime:
        await move(runtime, skip_in)
        assert await letters(runtime) == {"journey": "retried"}
        await drive(runtime)
        (wait,) = await rows(runtime, "SELECT deadline FROM journey_waits")
        assert wait.deadline == clock.now() + days(5)
        await send_event(runtime, "activated")
        await drive(runtime)
        assert await statuses(runtime) == ["completed"]
        assert subjects(provider) == ["Welcome", "Bye"]
        (verdict,) = await rows(
            runtime, "SELECT detail FROM decisions WHERE reason = 'operator_skipped_step'"
        )
        assert verdict.detail == {"forgotten": ["wait:activated#1"]}


async def test_what_was_sent_before_the_change_is_not_sent_again(
    running: RunningWith, clock: ManualClock
) -> None:
    provider = MemoryProvider()
    await block_by(running, clock, provider, nudge_first)
    async with running(nudge_first, provider=provider) as runtime:
        await move(runtime, skip_in)
        await drive(runtime)
        assert await statuses(runtime) == ["completed"]
        assert await journal(runtime) == ["send:nudge#1", "send:welcome#1", "send:bye#1"]
        assert subjects(provider) == ["Welcome", "Nudge", "Bye"]


async def test_code_that_now_ends_earlier_completes_when_skipped(
    running: RunningWith, clock: ManualClock
) -> None:
    @journey(id="course", trigger="signup", entry="unlimited")
    async def shorter(user: User, ctx: Context) -> None:
        await ctx.send("welcome")

    provider = MemoryProvider()
    await block_by(running, clock, provider, shorter)
    async with running(shorter, provider=provider) as runtime:
        await move(runtime, skip_in)
        await drive(runtime)
        assert await statuses(runtime) == ["completed"]
        assert subjects(provider) == ["Welcome"]


@pytest.mark.parametrize("code", [longer_wait, None], ids=["code changed", "journey missing"])
async def test_a_cancelled_run_is_over(
    running: RunningWith, clock: ManualClock, code: Journey | None
) -> None:
    await block_by(running, clock, MemoryProvider(), code)
    async with running(course) as runtime:
        await move(runtime, cancel_in)
        assert await statuses(runtime) == ["exited"]
        assert await letters(runtime) == {"journey": "discarded"}
        assert await refused(runtime, resume_in) == "NOT_STUCK"
        assert await refused(runtime, skip_in) == "NOT_STUCK"
        assert await refused(runtime, cancel_in) == "ALREADY_ENDED"
        assert ("exited", "operator_cancelled") in await reasons(runtime)


async def test_an_exit_event_ends_a_blocked_run_too(running: RunningWith, clock: ManualClock) -> None:
    await block_by(running, clock, MemoryProvider(), longer_wait)
    async with running(longer_wait) as runtime:
        await send_event(runtime, "left")
        assert await statuses(runtime) == ["exited"]
        assert await letters(runtime) == {"journey": "discarded"}


async def test_a_run_whose_journey_is_back_goes_on(running: RunningWith, clock: ManualClock) -> None:
    provider = MemoryProvider()
    await block_by(running, clock, provider, None)
    async with running(course, provider=provider) as runtime:
        assert await refused(runtime, skip_in) == "NOTHING_TO_SKIP"
        await move(runtime, resume_in)
        await drive(runtime)
        assert await statuses(runtime) == ["waiting"]
        await drive_to_end(runtime, clock)
        assert "checkpoint:timed out#1" in await journal(runtime)
        assert subjects(provider) == ["Welcome", "Bye"]
