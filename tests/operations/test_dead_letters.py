"""A retry really queues again, once; a new failure brings the entry back."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from hogsend import Context, User, journey
from hogsend.access.idempotency import Answer, Claim, once
from hogsend.clock import ManualClock
from hogsend.deadletters.actions import add_dead_letter
from hogsend.emails.providers import ProviderRefused
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.emails.tracking.delivery_events import record_fact
from hogsend.engine.jobs import Work, due_jobs, run_job
from hogsend.engine.outbox import enqueue_job
from hogsend.errors import Conflict, InvalidInput, NotFound
from hogsend.operations.dead_letters import DeadLetterRetry, Retries, discard, retry, retry_many
from hogsend.runtime import Runtime
from hogsend.storage.metadata import new_id
from hogsend.tables.access import audit_logs
from hogsend.tables.deadletters import dead_letters
from hogsend.tables.engine import jobs
from tests.driving import drive, drive_to_end, reasons, rows, send_email, send_event, statuses
from tests.fixtures.journeys import RunningWith
from tests.operations.providers import Mute
from worker.work import WORK, bury_job

ADA = "ada@example.com"
BROKEN = {"now": True}


@journey(id="one-mail", trigger="signup", category="onboarding")
async def one_mail(user: User, ctx: Context) -> None:
    result = await ctx.send("welcome")
    await ctx.checkpoint(result.status)


@journey(id="raises", trigger="signup")
async def raises(user: User, ctx: Context) -> None:
    await ctx.checkpoint("before")
    if BROKEN["now"]:
        raise ValueError("no such plan")
    await ctx.send("welcome")


async def work_off(runtime: Runtime, work: Work = WORK) -> None:
    while due := await due_jobs(runtime, 50):
        for job_id in due:
            await run_job(runtime, work, job_id, "test")


async def letters(runtime: Runtime) -> list[Any]:
    async with runtime.database.read() as conn:
        query = select(dead_letters).order_by(dead_letters.c.created_at, dead_letters.c.id)
        return list((await conn.execute(query)).all())


async def the_letter(runtime: Runtime, source: str | None = None) -> Any:
    [letter] = [each for each in await letters(runtime) if source in (None, each.source)]
    return letter


async def at_once(runtime: Runtime, entry_id: UUID, times: int = 2) -> Counter[str]:
    """Retry an entry several times at once; counts how each call ended."""
    calls = (retry(runtime, entry_id) for _ in range(times))
    ended = await asyncio.gather(*calls, return_exceptions=True)
    return Counter(str(each) if isinstance(each, Exception) else "retried" for each in ended)


async def test_an_email_is_sent_once_however_often_its_retry_is_fired(running: RunningWith) -> None:
    provider = MemoryProvider()
    provider.faults.append(ProviderRefused("mailbox does not exist"))
    async with running(provider=provider) as runtime:
        await send_email(runtime)
        await work_off(runtime)
        letter = await the_letter(runtime)
        assert (letter.source, letter.error, letter.status) == ("email", "mailbox does not exist", "pending")
        assert await at_once(runtime, letter.id, 5) == {"retried": 1, "DLQ entry is not pending": 4}
        await work_off(runtime)
        assert len(provider.to(ADA)) == 1
        letter = await the_letter(runtime)
        assert (letter.status, letter.retry_count) == ("retried", 0)
        assert [row.status for row in await rows(runtime, "SELECT status FROM email_sends")] == ["sent"]
        assert ("send", "operator_asked") in await reasons(runtime)


async def test_a_new_failure_brings_the_entry_back(running: RunningWith, clock: ManualClock) -> None:
    provider = MemoryProvider()
    async with running(provider=provider) as runtime:
        provider.faults += [ProviderRefused("first"), ProviderRefused("second"), ProviderRefused("third")]
        await send_email(runtime)
        await work_off(runtime)
        entry_id = (await the_letter(runtime)).id
        for count, error in ((1, "second"), (2, "third")):
            clock.advance(timedelta(hours=30))
            assert await retry(runtime, entry_id) == clock.now()
            await work_off(runtime)
            letter = await the_letter(runtime)
            assert (letter.id, letter.status, letter.error) == (entry_id, "pending", error)
            assert (letter.retry_count, letter.retried_at) == (count, clock.now())
        await retry(runtime, entry_id)
        await work_off(runtime)
        assert len(provider.to(ADA)) == 1


async def test_a_refused_send_of_a_journey_goes_out_although_its_run_went_on(
    running: RunningWith, clock: ManualClock
) -> None:
    provider = MemoryProvider()
    provider.faults.append(ProviderRefused("not today"))
    async with running(one_mail, provider=provider) as runtime:
        await send_event(runtime, "signup")
        await drive_to_end(runtime, clock)
        assert await statuses(runtime) == ["completed"]
        await retry(runtime, (await the_letter(runtime, "email")).id)
        await work_off(runtime)
        assert len(provider.to(ADA)) == 1


@pytest.mark.parametrize("source", ["email", "journey"])
async def test_a_send_of_unknown_outcome_resumes_its_run(
    running: RunningWith, clock: ManualClock, source: str
) -> None:
    provider = Mute()
    async with running(one_mail, provider=provider) as runtime:
        await send_event(runtime, "signup")
        await drive(runtime)
        clock.advance(timedelta(hours=24))
        await drive(runtime)
        assert await statuses(runtime) == ["blocked"]
        assert {letter.source for letter in await letters(runtime)} == {"email", "journey"}
        provider.mute = False
        await retry(runtime, (await the_letter(runtime, source)).id)
        assert {letter.status for letter in await letters(runtime)} == {"retried"}
        await drive(runtime)
        await work_off(runtime)
        assert await statuses(runtime) == ["completed"]
        assert len(set(provider.calls)) == 1


async def test_a_run_goes_on_once_its_code_is_mended(running: RunningWith) -> None:
    provider = MemoryProvider()
    BROKEN["now"] = True
    async with running(raises, provider=provider) as runtime:
        await send_event(runtime, "signup")
        await drive(runtime)
        letter = await the_letter(runtime)
        assert (letter.source, letter.payload["journeyId"]) == ("journey", "raises")
        assert letter.error.startswith("ValueError: no such plan (in raises")
        await retry(runtime, letter.id)
        await drive(runtime)
        assert (await the_letter(runtime)).retry_count == 1
        BROKEN["now"] = False
        assert await at_once(runtime, letter.id) == {"retried": 1, "DLQ entry is not pending": 1}
        await drive(runtime)
        assert await statuses(runtime) == ["completed"]
        assert len(provider.to(ADA)) == 1


async def test_a_dead_job_runs_again(running: RunningWith, clock: ManualClock) -> None:
    ran: list[str] = []

    async def deliver_hook(_runtime: Runtime, payload: Any) -> None:
        ran.append(payload["hook"])
        if len(ran) <= 2:
            raise ValueError("the receiver answered 500")

    async with running() as runtime:
        work = Work({"hook": deliver_hook}, bury_job)
        async with runtime.database.transaction() as conn:
            await enqueue_job(conn, clock, "hook", {"hook": "h1"}, max_attempts=2)
        for _ in range(2):
            await work_off(runtime, work)
            clock.advance(timedelta(minutes=11))
        letter = await the_letter(runtime)
        assert (letter.source, letter.payload["job"], len(ran)) == ("webhook", "hook", 2)
        await retry(runtime, letter.id)
        await work_off(runtime, work)
        assert ran == ["h1", "h1", "h1"]
        assert [row.status for row in await rows(runtime, "SELECT status FROM jobs")] == ["done"]


async def test_an_email_that_arrived_after_all_is_not_sent_again(running: RunningWith) -> None:
    provider = MemoryProvider()
    provider.faults.append(ProviderRefused("no"))
    async with running(provider=provider) as runtime:
        sent = await send_email(runtime)
        await work_off(runtime)
        async with runtime.database.transaction() as conn:
            await record_fact(conn, email_id=sent.email_id, type="delivered", at=runtime.clock.now())
        letter = await the_letter(runtime)
        with pytest.raises(Conflict, match="has reached its provider since"):
            await retry(runtime, letter.id)
        assert (await the_letter(runtime)).status == "pending"


async def test_what_is_discarded_stays_and_cannot_be_retried(running: RunningWith) -> None:
    async with running() as runtime:
        [entry_id] = await buried(runtime, 1)
        await discard(runtime, entry_id)
        for settle in (discard, retry):
            with pytest.raises(Conflict, match="DLQ entry is not pending"):
                await settle(runtime, entry_id)
            with pytest.raises(NotFound, match="DLQ entry not found"):
                await settle(runtime, new_id())
        assert (await the_letter(runtime)).status == "discarded"


async def buried(runtime: Runtime, many: int) -> list[UUID]:
    """Entries of dead jobs, the oldest first."""
    entries = []
    for index in range(many):
        async with runtime.database.transaction() as conn:
            job_id = await enqueue_job(conn, runtime.clock, "hook", {"hook": index})
            assert job_id is not None
            await conn.execute(update(jobs).where(jobs.c.id == job_id).values(status="dead"))
            entries.append(
                await add_dead_letter(
                    conn,
                    runtime.clock,
                    source="webhook",
                    source_id=str(job_id),
                    error="500",
                    payload={"jobId": str(job_id)},
                )
            )
    return entries


async def test_many_are_retried_one_by_one(running: RunningWith, clock: ManualClock) -> None:
    async with running() as runtime:
        entries = await buried(runtime, 4)
        await discard(runtime, entries[1])
        missing = new_id()
        would = await retry_many(runtime, DeadLetterRetry(ids=(*entries, missing)), dry_run=True)
        refused = {entries[1]: "DLQ entry is not pending", missing: "DLQ entry not found"}
        assert would == Retries([entries[0], *entries[2:]], refused)
        assert await retry_many(runtime, DeadLetterRetry(source="email"), dry_run=True) == Retries([], {})
        assert await due_jobs(runtime, 10) == []

        async with runtime.database.transaction() as conn:
            third = select(dead_letters.c.source_id).where(dead_letters.c.id == entries[2])
            job_id = UUID((await conn.execute(third)).scalar_one())
            await conn.execute(update(jobs).where(jobs.c.id == job_id).values(status="done"))
        done = await retry_many(runtime, DeadLetterRetry(source="webhook", limit=10))
        assert done == Retries([entries[0], entries[3]], {entries[2]: "The job runs again already"})
        assert len(await due_jobs(runtime, 10)) == 2


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        (DeadLetterRetry(ids=()), "ids"),
        (DeadLetterRetry(ids=(new_id(),), source="email"), "ids"),
        (DeadLetterRetry(source="pigeon"), "source"),
        (DeadLetterRetry(limit=0), "limit"),
        (DeadLetterRetry(limit=501), "limit"),
    ],
)
async def test_a_wish_that_cannot_be_meant_is_refused(
    runtime: Runtime, wish: DeadLetterRetry, field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await retry_many(runtime, wish)
    assert refused.value.field == field


async def retry_with_key(runtime: Runtime, entry_id: UUID) -> Answer:
    async def effect(claim: Claim) -> Answer:
        await retry(runtime, entry_id, claim)
        return {"id": str(entry_id)}

    return await once(runtime, "deadLetterRetry", "once", {"id": entry_id}, effect)


async def test_the_first_answer_is_given_again(running: RunningWith, clock: ManualClock) -> None:
    async with running() as runtime:
        first, second = await buried(runtime, 2)
        settled = await retry_with_key(runtime, first)
        clock.advance(timedelta(minutes=5))
        assert await retry_with_key(runtime, first) == settled
        with pytest.raises(InvalidInput, match="another input"):
            await retry_with_key(runtime, second)
        async with runtime.database.read() as conn:
            assert (await conn.execute(select(audit_logs))).first() is None, "outside the admin plane"


async def test_a_second_report_of_one_failure_counts_nothing(running: RunningWith) -> None:
    async with running() as runtime:
        for error in ("first", "second"):
            async with runtime.database.transaction() as conn:
                await add_dead_letter(
                    conn, runtime.clock, source="webhook", source_id="w1", error=error, payload={}
                )
        letter = await the_letter(runtime)
        assert (letter.retry_count, letter.error) == (0, "second")
        with pytest.raises(Conflict, match="The job that it stands for is gone"):
            await retry(runtime, letter.id)
