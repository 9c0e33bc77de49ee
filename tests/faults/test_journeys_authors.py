"""What authors write that is odd, and what happens to a run from outside while its code runs."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from uuid import UUID

import pytest
from sqlalchemy import text

from hogsend import Context, Journey, User, days, journey, minutes
from hogsend.clock import ManualClock
from hogsend.emails.providers import TryLater
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.emails.sending.job import sweep_sends
from hogsend.errors import Conflict
from hogsend.execution.advance import MAX_FRUITLESS_SLICES, Advanced, advance
from hogsend.operations.cancel import cancel
from hogsend.runtime import Runtime
from tests.driving import (
    ADA,
    Crashed,
    crash_once_at,
    drive,
    drive_to_end,
    expire_leases,
    journal,
    reasons,
    rows,
    send_event,
    statuses,
)
from tests.faults.providers import Held
from tests.fixtures.journeys import RunningWith


@journey(id="reminds-twice", trigger="signup")
async def reminds_twice(user: User, ctx: Context) -> None:
    for round_ in (1, 2):
        await ctx.send("nudge", props={"round": round_})
    await ctx.sleep(days(1))
    await ctx.send("nudge", props={"round": 2})


async def test_one_template_sent_again_is_another_email(running: RunningWith, clock: ManualClock) -> None:
    provider = MemoryProvider()
    async with running(reminds_twice, provider=provider) as runtime:
        crash_once_at(runtime, "after_provider_call", times=4)
        await send_event(runtime, "signup")
        await drive_to_end(runtime, clock)
        assert await journal(runtime) == ["send:nudge#1", "send:nudge#2", "sleep:1d#1", "send:nudge#3"]
        assert len(provider.to(ADA)) == len(set(provider.calls)) == 3
        keys = await rows(runtime, "SELECT step_key FROM email_sends ORDER BY created_at, step_key")
        assert [row.step_key for row in keys] == ["send:nudge#1", "send:nudge#2", "send:nudge#3"]


@journey(id="nothing-to-do", trigger="signup")
async def nothing_to_do(user: User, ctx: Context) -> None:
    if "plan" not in ctx.event.properties:
        return
    await ctx.send("welcome")


@journey(id="has-seen-enough", trigger="signup")
async def has_seen_enough(user: User, ctx: Context) -> None:
    try:
        if not await ctx.wait_for_event("activated", timeout=days(1)):
            return
        await ctx.send("congrats")
    finally:
        await ctx.checkpoint("left")


@pytest.mark.parametrize(
    ("early", "steps"),
    [(nothing_to_do, []), (has_seen_enough, ["wait:activated#1", "checkpoint:left#1"])],
    ids=["before any step", "from a try"],
)
async def test_an_author_who_returns_early_is_done(
    running: RunningWith, clock: ManualClock, early: Journey, steps: list[str]
) -> None:
    provider = MemoryProvider()
    async with running(early, provider=provider) as runtime:
        crash_once_at(runtime, "before_complete")
        await send_event(runtime, "signup")
        await drive_to_end(runtime, clock)
        assert await statuses(runtime) == ["completed"]
        assert await journal(runtime) == steps
        assert provider.accepted == []
        assert (await reasons(runtime))[-1] == ("completed", "journey_ended")


async def test_an_author_who_calls_exit_fails_the_run_and_not_the_worker(running: RunningWith) -> None:
    @journey(id="quits", trigger="signup")
    async def quits(user: User, ctx: Context) -> None:
        await ctx.checkpoint("before")
        raise SystemExit(3)

    async with running(quits) as runtime:
        await send_event(runtime, "signup")
        await drive(runtime)
        (state,) = await rows(runtime, "SELECT status, error FROM journey_states")
        assert (state.status, state.error.split(" (")[0]) == ("failed", "SystemExit: 3")


@journey(id="two-mails", trigger="signup", exit_on="left")
async def two_mails(user: User, ctx: Context) -> None:
    await ctx.send("welcome")
    await ctx.send("nudge")
    await ctx.sleep(days(1))
    await ctx.send("bye")


async def on_the_wire(runtime: Runtime, provider: Held) -> tuple[UUID, asyncio.Task[Advanced]]:
    """A run whose first message has reached the provider, and the task that drives it."""
    (enrollment,) = (await send_event(runtime, "signup")).enrollments
    assert enrollment.state_id is not None
    task = asyncio.create_task(advance(runtime, enrollment.state_id, "w"))
    await provider.calling.wait()
    return enrollment.state_id, task


@pytest.mark.parametrize("how", ["operator", "event"])
async def test_the_run_is_ended_and_its_task_goes_on(
    running: RunningWith, clock: ManualClock, how: str
) -> None:
    """An engine that cannot stop a task, or is not asked in time: the fence does it at the next touch."""
    provider = Held()
    async with running(two_mails, provider=provider) as runtime:
        state_id, task = await on_the_wire(runtime, provider)
        if how == "operator":
            await cancel(runtime, state_id)
        else:
            await send_event(runtime, "left")
        provider.go_on.set()
        assert (await task).state == "done"
        await drive_to_end(runtime, clock)
        assert await statuses(runtime) == ["exited"]
        # The wire has no undo, so what was on it is recorded; nothing follows it.
        assert [m.subject.split()[0] for m in provider.to(ADA)] == ["Welcome"]
        (email,) = await rows(runtime, "SELECT status FROM email_sends")
        assert email.status == "sent"
        (step,) = await rows(runtime, "SELECT key, status FROM journey_steps")
        assert (step.key, step.status) == ("send:welcome#1", "done")
        with pytest.raises(Conflict):
            await cancel(runtime, state_id)


@pytest.mark.parametrize(
    ("point", "reason", "letters"),
    [
        ("after_prepare:send:welcome#1", "run_ended", 0),
        ("before_provider_call", "outcome_unknown", 1),
        ("after_provider_call", "outcome_unknown", 1),
    ],
)
async def test_a_send_that_its_run_left_behind_is_settled(
    running: RunningWith, clock: ManualClock, point: str, reason: str, letters: int
) -> None:
    """The worker died around a send, and the run was ended meanwhile: nothing goes out any more, and nothing hangs."""
    provider = MemoryProvider()
    async with running(two_mails, provider=provider) as runtime:
        await send_event(runtime, "signup")
        crash_once_at(runtime, point)
        with pytest.raises(Crashed):
            await drive(runtime)
        await send_event(runtime, "left")
        calls = provider.calls.total()
        await sweep_sends(runtime)
        clock.advance(minutes(2))
        await sweep_sends(runtime)
        await sweep_sends(runtime)
        (email,) = await rows(runtime, "SELECT status, refusal FROM email_sends")
        assert (email.status, email.refusal) == ("failed", reason)
        assert provider.calls.total() == calls
        assert len(await rows(runtime, "SELECT 1 FROM dead_letters WHERE source = 'email'")) == letters
        assert [verdict for verdict in await reasons(runtime) if verdict[1] == reason] == [
            ("send_failed" if letters else "suppressed", reason)
        ]


async def test_a_send_on_the_wire_is_not_taken_for_one_that_was_left(
    running: RunningWith, clock: ManualClock
) -> None:
    provider = Held()
    async with running(two_mails, provider=provider) as runtime:
        _, task = await on_the_wire(runtime, provider)
        await send_event(runtime, "left")
        await sweep_sends(runtime)
        provider.go_on.set()
        await task
        (email,) = await rows(runtime, "SELECT status FROM email_sends")
        assert email.status == "sent"


@journey(id="asks", trigger="signup")
async def asks(user: User, ctx: Context) -> None:
    await ctx.send("welcome")
    found = await ctx.wait_for_event("activated", timeout=days(3))
    await ctx.checkpoint("timed out" if found.timed_out else "activated")


@pytest.mark.parametrize("fault", ["crash", "outage"])
async def test_what_comes_while_an_email_is_being_sent_counts_for_the_wait_behind_it(
    running: RunningWith, clock: ManualClock, fault: str
) -> None:
    provider = MemoryProvider()
    async with running(asks, provider=provider) as runtime:
        if fault == "crash":
            crash_once_at(runtime, "after_provider_call")
        else:
            provider.faults = [TryLater("500", days(0.25))]
        await send_event(runtime, "signup")
        with suppress(Crashed):
            await drive(runtime)
        clock.advance(minutes(1))
        await send_event(runtime, "activated")
        clock.advance(days(0.5))
        await expire_leases(runtime)
        await drive(runtime)
        assert await statuses(runtime) == ["completed"]
        assert (await journal(runtime))[-1] == "checkpoint:activated#1"
        assert len(provider.accepted) == 1


async def test_the_task_is_cancelled_and_the_run_goes_on(running: RunningWith, clock: ManualClock) -> None:
    """An engine that stops a task under its run, again and again: at its timeout, at an eviction."""
    provider = Held()
    async with running(two_mails, provider=provider) as runtime:
        state_id, task = await on_the_wire(runtime, provider)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for point in ("before_provider_call", "after_provider_call", "after_suspend"):
            clock.advance(days(0.1))
            await expire_leases(runtime)
            reached = asyncio.Event()

            def stop_at(here: str, point: str = point, reached: asyncio.Event = reached) -> None:
                if here == point and not reached.is_set():
                    reached.set()
                    raise asyncio.CancelledError

            runtime.fault_point = stop_at
            with pytest.raises(asyncio.CancelledError):
                await advance(runtime, state_id, "w")
            assert reached.is_set()
        await drive_to_end(runtime, clock)
        assert await statuses(runtime) == ["completed"]
        assert [m.subject.split()[0] for m in provider.to(ADA)] == ["Welcome", "Nudge", "Bye"]


async def test_a_run_that_dies_at_every_claim_is_given_up_in_the_end(
    running: RunningWith, clock: ManualClock
) -> None:
    async with running(two_mails) as runtime:
        await send_event(runtime, "signup")
        crash_once_at(runtime, "after_claim", times=31)
        for _ in range(32):
            await expire_leases(runtime)
            try:
                await drive(runtime)
            except Crashed:
                continue
        (state,) = await rows(runtime, "SELECT status, ended_reason FROM journey_states")
        assert (state.status, state.ended_reason) == ("failed", "retries_exhausted")


async def test_a_run_whose_record_cannot_be_read_is_given_up_in_the_end(running: RunningWith) -> None:
    async with running(two_mails) as runtime:
        await send_event(runtime, "signup")
        async with runtime.database.transaction() as conn:
            await conn.execute(text("UPDATE journey_states SET input = '{}'"))
        for _ in range(MAX_FRUITLESS_SLICES + 1):
            await expire_leases(runtime)
            with suppress(KeyError):
                await drive(runtime)
        (state,) = await rows(runtime, "SELECT status, ended_reason FROM journey_states")
        assert (state.status, state.ended_reason) == ("failed", "retries_exhausted")
        (letter,) = await rows(runtime, "SELECT source, error FROM dead_letters")
        assert (letter.source, letter.error) == ("journey", "30 slices without progress")
