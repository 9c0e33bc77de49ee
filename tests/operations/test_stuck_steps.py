"""Runs that are stuck in a step: a send whose outcome nobody knows, a template, a wait, code that raised."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

from hogsend import Context, User, days, journey
from hogsend.clock import ManualClock
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.emails.sending.job import sweep_sends
from hogsend.emails.templates.render import Templates
from hogsend.engine.jobs import due_jobs, run_job
from hogsend.errors import Conflict
from hogsend.operations.cancel import cancel_in
from hogsend.operations.dead_letters import retry
from hogsend.operations.stuck_runs import resume_in, skip_in
from hogsend.runtime import Runtime
from tests.driving import drive, drive_to_end, journal, rows, send_event, statuses
from tests.fixtures.journeys import RunningWith
from tests.operations.providers import Mute
from tests.operations.test_stuck_runs import TEMPLATES, letters, move, refused, run_id, subjects
from worker.work import WORK


@journey(id="two-mails", trigger="signup")
async def two_mails(user: User, ctx: Context) -> None:
    first = await ctx.send("welcome")
    await ctx.checkpoint(f"first {first.status}")
    second = await ctx.send("bye")
    await ctx.checkpoint(f"second {second.status}")


async def until_unknown(runtime: Runtime, clock: ManualClock) -> None:
    """Ask once, and then not before the provider has forgotten the key."""
    await drive(runtime)
    clock.advance(timedelta(hours=24))
    await drive(runtime)
    assert await statuses(runtime) == ["blocked"]
    (state,) = await rows(runtime, "SELECT ended_reason FROM journey_states")
    assert state.ended_reason == "outcome_unknown"


async def work_off(runtime: Runtime) -> None:
    await sweep_sends(runtime)
    while due := await due_jobs(runtime, 50):
        for job_id in due:
            await run_job(runtime, WORK, job_id, "test")


async def test_a_send_of_unknown_outcome_is_sent_again_under_its_key(
    running: RunningWith, clock: ManualClock
) -> None:
    provider = Mute()
    async with running(two_mails, provider=provider) as runtime:
        await send_event(runtime, "signup")
        await until_unknown(runtime, clock)
        assert await letters(runtime) == {"email": "pending", "journey": "pending"}
        provider.mute = False
        await move(runtime, resume_in)
        assert await letters(runtime) == {"email": "retried", "journey": "retried"}
        await drive(runtime)
        assert await statuses(runtime) == ["completed"]
        assert [step for step in await journal(runtime) if step.startswith("checkpoint")] == [
            "checkpoint:first sent#1",
            "checkpoint:second sent#1",
        ]
        assert len(set(provider.calls)) == 2


async def test_a_skipped_send_counts_as_failed_and_stays_a_persons_to_settle(
    running: RunningWith, clock: ManualClock
) -> None:
    provider = Mute()
    async with running(two_mails, provider=provider) as runtime:
        await send_event(runtime, "signup")
        await until_unknown(runtime, clock)
        await move(runtime, skip_in)
        assert await letters(runtime) == {"email": "pending", "journey": "retried"}
        await until_unknown(runtime, clock)
        assert "checkpoint:first failed#1" in await journal(runtime)
        (step,) = await rows(runtime, "SELECT result FROM journey_steps WHERE key = 'send:welcome#1'")
        (email,) = await rows(runtime, "SELECT id FROM email_sends WHERE step_key = 'send:welcome#1'")
        assert step.result == {
            "status": "failed",
            "email_id": str(email.id),
            "reason": "operator_skipped_step",
        }

        provider.mute = False
        tries = provider.calls[str(email.id)]
        letter = await email_letter(runtime, email.id)
        await retry(runtime, letter.id)
        await work_off(runtime)
        # The one that was skipped went out; the run still stands at the second.
        assert provider.calls[str(email.id)] == tries + 1
        assert await statuses(runtime) == ["blocked"]
        await move(runtime, resume_in)
        await drive(runtime)
        assert await statuses(runtime) == ["completed"]
        assert provider.calls[str(email.id)] == tries + 1


async def test_resuming_a_later_send_leaves_a_skipped_one_alone(
    running: RunningWith, clock: ManualClock
) -> None:
    provider = Mute()
    async with running(two_mails, provider=provider) as runtime:
        await send_event(runtime, "signup")
        await until_unknown(runtime, clock)
        await move(runtime, skip_in)
        await until_unknown(runtime, clock)
        (first, second) = await rows(runtime, "SELECT id FROM email_sends ORDER BY created_at")
        provider.mute = False
        tries = provider.calls[str(first.id)]
        await move(runtime, resume_in)
        await drive(runtime)
        await work_off(runtime)
        assert await statuses(runtime) == ["completed"]
        assert provider.calls[str(first.id)] == tries
        assert (await email_letter(runtime, first.id)).status == "pending"
        assert (await email_letter(runtime, second.id)).status == "retried"


async def email_letter(runtime: Runtime, email_id: Any) -> Any:
    query = "SELECT id, status FROM dead_letters WHERE source = 'email' AND source_id = :id"
    (letter,) = await rows(runtime, query, id=str(email_id))
    return letter


async def test_a_cancelled_send_of_unknown_outcome_is_not_tried_again(
    running: RunningWith, clock: ManualClock
) -> None:
    provider = Mute()
    async with running(two_mails, provider=provider) as runtime:
        await send_event(runtime, "signup")
        await until_unknown(runtime, clock)
        await move(runtime, cancel_in)
        tries = provider.calls.total()
        clock.advance(days(2))
        await drive(runtime)
        await work_off(runtime)
        assert provider.calls.total() == tries
        assert await letters(runtime) == {"email": "pending", "journey": "discarded"}


@journey(id="no-template", trigger="signup", entry="unlimited")
async def no_template(user: User, ctx: Context) -> None:
    await ctx.checkpoint("before")
    result = await ctx.send("not-there-yet")
    await ctx.checkpoint(f"it {result.status}")


async def test_a_send_that_cannot_be_rendered_is_the_step_that_the_run_is_stuck_in(
    running: RunningWith, tmp_path: Path
) -> None:
    provider = MemoryProvider()
    async with running(no_template, provider=provider) as runtime:
        await send_event(runtime, "signup")
        await drive(runtime)
        assert await statuses(runtime) == ["failed"]
        (step,) = await rows(runtime, "SELECT key, status FROM journey_steps WHERE seq = 1")
        assert (step.key, step.status) == ("send:not-there-yet#1", "open")
        for template in TEMPLATES.glob("welcome.*"):
            (tmp_path / template.name.replace("welcome", "not-there-yet")).write_text(template.read_text())
        runtime.templates = Templates.load([TEMPLATES, tmp_path])
        await move(runtime, resume_in)
        await drive(runtime)
        assert await journal(runtime) == [
            "checkpoint:before#1",
            "send:not-there-yet#1",
            "checkpoint:it sent#1",
        ]
        assert len(provider.accepted) == 1


async def test_a_send_that_cannot_be_rendered_can_be_skipped(running: RunningWith) -> None:
    provider = MemoryProvider()
    async with running(no_template, provider=provider) as runtime:
        await send_event(runtime, "signup")
        await drive(runtime)
        await move(runtime, skip_in)
        await drive(runtime)
        assert await statuses(runtime) == ["completed"]
        assert (await journal(runtime))[-1] == "checkpoint:it failed#1"
        assert provider.accepted == []


async def test_code_that_raised_can_be_resumed_and_not_skipped(running: RunningWith) -> None:
    broken = [True]

    @journey(id="raises", trigger="signup")
    async def raises(user: User, ctx: Context) -> None:
        await ctx.send("welcome")
        if broken:
            raise KeyError("plan")
        await ctx.checkpoint("mended")

    provider = MemoryProvider()
    async with running(raises, provider=provider) as runtime:
        await send_event(runtime, "signup")
        await drive(runtime)
        assert await refused(runtime, skip_in) == "NOTHING_TO_SKIP"
        broken.clear()
        await move(runtime, resume_in)
        await drive(runtime)
        assert await statuses(runtime) == ["completed"]
        assert subjects(provider) == ["Welcome"]


async def test_a_skipped_wait_timed_out_and_the_next_window_begins_there(
    running: RunningWith, clock: ManualClock
) -> None:
    @journey(id="two-waits", trigger="signup")
    async def two_waits(user: User, ctx: Context) -> None:
        first = await ctx.wait_for_event("go", timeout=days(1), where={"right": True}, label="first")
        second = await ctx.wait_for_event("go", timeout=days(1), label="second")
        await ctx.checkpoint(f"{first.timed_out} {second.timed_out}")

    async with running(two_waits) as runtime:
        await send_event(runtime, "signup")
        await drive(runtime)
        await send_event(runtime, "go", right=False)
        async with runtime.database.transaction() as conn:
            await conn.exec_driver_sql(
                "UPDATE journey_states SET status = 'failed', ended_reason = 'retries_exhausted'"
            )
        await move(runtime, skip_in)
        await drive(runtime)
        assert await statuses(runtime) == ["waiting"]
        await drive_to_end(runtime, clock)
        assert (await journal(runtime))[-1] == "checkpoint:True True#1"


async def test_a_run_is_not_resumed_beside_another_one(running: RunningWith, clock: ManualClock) -> None:
    async with running(no_template) as runtime:
        await send_event(runtime, "signup")
        await drive(runtime)
        first = await run_id(runtime)

        async def resume() -> str:
            try:
                async with runtime.database.transaction() as conn:
                    await resume_in(conn, runtime, first)
            except Conflict as conflict:
                return conflict.code
            return "resumed"

        results = await asyncio.gather(resume(), *(send_event(runtime, "signup") for _ in range(5)), resume())
        enrolled = sum(
            enrollment.enrolled
            for result in results
            if not isinstance(result, str)
            for enrollment in result.enrollments
        )
        answers = sorted(result for result in results if isinstance(result, str))
        assert (enrolled, answers) in (
            (1, ["ALREADY_IN_JOURNEY"] * 2),
            (0, ["NOT_STUCK", "resumed"]),
        )
