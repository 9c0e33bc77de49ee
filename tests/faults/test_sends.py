"""Sends under faults. The oracle is a provider that counts what it accepted, key by key."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import update

from hogsend import Context, User, days, journey
from hogsend.clock import ManualClock
from hogsend.consent.suppression import suppress, unsubscribe
from hogsend.emails.providers import OutcomeUnknown, ProviderRefused, TryLater
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.emails.sending.direct import resend_in
from hogsend.emails.sending.job import sweep_sends
from hogsend.emails.sending.protocol import deliver
from hogsend.engine.jobs import due_jobs, run_job
from hogsend.errors import Conflict
from hogsend.runtime import Runtime
from hogsend.tables.contacts import contacts
from tests.driving import (
    ADA,
    Crashed,
    crash_once_at,
    drive,
    drive_to_end,
    expire_leases,
    reasons,
    rows,
    send_email,
    send_event,
    statuses,
)
from tests.faults.providers import Slow
from tests.fixtures.journeys import RunningWith
from worker.work import WORK


@journey(id="one-mail", trigger="signup", category="onboarding")
async def one_mail(user: User, ctx: Context) -> None:
    result = await ctx.send("welcome")
    await ctx.checkpoint(result.status)


class Flaky(MemoryProvider):
    """Accepts, and then the connection is reset: `resets` times."""

    def __init__(self, resets: int) -> None:
        super().__init__()
        self.resets = resets

    async def send(self, message, *, idempotency_key):
        taken = await super().send(message, idempotency_key=idempotency_key)
        if self.resets > 0:
            self.resets -= 1
            raise OutcomeUnknown("connection reset")
        return taken


async def test_accepted_and_then_reset_is_one_email(running: RunningWith, clock: ManualClock) -> None:
    provider = Flaky(resets=3)
    async with running(one_mail, provider=provider) as runtime:
        await send_event(runtime, "signup")
        await drive_to_end(runtime, clock)
        assert len(provider.accepted) == 1
        assert list(provider.calls.values()) == [4]
        assert await statuses(runtime) == ["completed"]


async def test_an_outage_longer_than_the_providers_memory_is_left_to_a_person(
    running: RunningWith, clock: ManualClock
) -> None:
    provider = Flaky(resets=10**6)
    async with running(one_mail, provider=provider) as runtime:
        await send_event(runtime, "signup")
        await drive_to_end(runtime, clock, until=clock.now() + timedelta(hours=30))
        assert await statuses(runtime) == ["blocked"]
        tries = provider.calls.total()
        clock.advance(timedelta(days=3))
        await drive(runtime)
        assert provider.calls.total() == tries
        assert ("blocked", "outcome_unknown") in await reasons(runtime)
        letters = await rows(runtime, "SELECT source FROM dead_letters ORDER BY source")
        assert [letter.source for letter in letters] == ["email", "journey"]


async def test_six_hours_of_errors_then_recovery_nobody_twice(
    running: RunningWith, clock: ManualClock
) -> None:
    class Down(MemoryProvider):
        until = clock.now() + timedelta(hours=6)

        async def send(self, message, *, idempotency_key):
            if clock.now() < self.until:
                self.calls[idempotency_key] += 1
                raise TryLater("500")
            return await super().send(message, idempotency_key=idempotency_key)

    provider = Down()
    async with running(one_mail, provider=provider) as runtime:
        for index in range(4):
            await send_event(runtime, "signup", email=f"p{index}@example.com")
        await drive_to_end(runtime, clock)
        assert Counter(a.message.to for a in provider.accepted) == Counter(
            f"p{i}@example.com" for i in range(4)
        )
        assert set(await statuses(runtime)) == {"completed"}


async def test_retry_after_is_honoured(running: RunningWith, clock: ManualClock) -> None:
    provider = MemoryProvider()
    provider.faults = [TryLater("429", timedelta(minutes=17))]
    async with running(one_mail, provider=provider) as runtime:
        began = clock.now()
        await send_event(runtime, "signup")
        await drive_to_end(runtime, clock)
        assert clock.now() - began >= timedelta(minutes=17)
        assert len(provider.accepted) == 1


async def test_a_definite_refusal_is_final_and_the_journey_goes_on(running: RunningWith) -> None:
    provider = MemoryProvider()
    provider.faults = [ProviderRefused("422 invalid `to`")]
    async with running(one_mail, provider=provider) as runtime:
        await send_event(runtime, "signup")
        await drive(runtime)
        (state,) = await rows(runtime, "SELECT current_node, status FROM journey_states")
        assert (state.current_node, state.status) == ("failed", "completed")
        assert provider.calls.total() == 1
        (letter,) = await rows(runtime, "SELECT source, error FROM dead_letters")
        assert (letter.source, letter.error) == ("email", "422 invalid `to`")


@pytest.mark.parametrize("how", ["unsubscribed_from_all", "suppressed_by_operator", "contact_deleted"])
async def test_what_lands_between_decision_and_send_stops_it(running: RunningWith, how: str) -> None:
    provider = MemoryProvider()
    async with running(one_mail, provider=provider) as runtime:
        result = await send_event(runtime, "signup")
        crash_once_at(runtime, "after_prepare:send:welcome#1")
        with pytest.raises(Crashed):
            await drive(runtime)
        async with runtime.database.transaction() as conn:
            match how:
                case "suppressed_by_operator":
                    await suppress(conn, runtime.clock, ADA, "manual")
                case "contact_deleted":
                    await conn.execute(update(contacts).values(deleted_at=runtime.clock.now()))
                case _:
                    await unsubscribe(conn, runtime.clock, result.contact_id, source="test")
        await expire_leases(runtime)
        await drive(runtime)
        assert provider.accepted == []
        (state,) = await rows(runtime, "SELECT current_node, status FROM journey_states")
        assert (state.current_node, state.status) == ("suppressed", "completed")
        assert ("suppressed", how) in await reasons(runtime)


async def test_unsubscribing_between_retries_stops_the_next(running: RunningWith, clock: ManualClock) -> None:
    provider = MemoryProvider()
    provider.faults = [TryLater("500")]
    async with running(one_mail, provider=provider) as runtime:
        result = await send_event(runtime, "signup")
        await drive(runtime)
        await _unsubscribe(runtime, result.contact_id)
        await drive_to_end(runtime, clock)
        assert provider.accepted == []
        assert await statuses(runtime) == ["completed"]


async def test_two_workers_on_one_message_while_the_call_is_slow(
    running: RunningWith, clock: ManualClock
) -> None:
    provider = Slow()
    async with running(one_mail, provider=provider) as runtime:
        sent = await send_email(runtime, key="x")
        slow = asyncio.create_task(deliver(runtime, sent.email_id))
        await provider.calling.wait()
        assert (await deliver(runtime, sent.email_id)).state == "later"
        clock.advance(timedelta(minutes=2))
        assert (await deliver(runtime, sent.email_id)).state == "sent"
        provider.go_on.set()
        assert (await slow).state == "sent"
        assert len(provider.accepted) == 1
        facts = await rows(runtime, "SELECT type FROM email_events ORDER BY at, id")
        assert [fact.type for fact in facts] == ["queued", "sent"]


async def test_one_broken_template_among_many_people(running: RunningWith) -> None:
    @journey(id="picky", trigger="signup")
    async def picky(user: User, ctx: Context) -> None:
        await ctx.send("no-such-template" if user.email.startswith("p7@") else "welcome")

    provider = MemoryProvider()
    async with running(picky, provider=provider) as runtime:
        for index in range(30):
            await send_event(runtime, "signup", email=f"p{index}@example.com")
        await drive(runtime)
        assert len(provider.accepted) == 29
        assert Counter(await statuses(runtime)) == {"completed": 29, "failed": 1}
        assert ("failed", "rendering_failed") in await reasons(runtime)


@pytest.mark.parametrize("point", ["before_provider_call", "after_provider_call", "after_send_recorded"])
async def test_a_job_that_dies_around_the_wire_is_made_up_for(
    running: RunningWith, clock: ManualClock, point: str
) -> None:
    provider = MemoryProvider()
    async with running(one_mail, provider=provider) as runtime:
        await send_email(runtime)
        crash_once_at(runtime, point)
        with pytest.raises(Crashed):
            await work_jobs(runtime)
        for _ in range(4):
            clock.advance(timedelta(minutes=6))
            await sweep_sends(runtime)
            await work_jobs(runtime)
        assert len(provider.accepted) == 1
        (email,) = await rows(runtime, "SELECT status FROM email_sends")
        assert email.status == "sent"


async def test_resending_twice_at_once_is_one_more_email(running: RunningWith, clock: ManualClock) -> None:
    provider = MemoryProvider()
    provider.faults = [ProviderRefused("mailbox is full")]
    async with running(one_mail, provider=provider) as runtime:
        sent = await send_email(runtime)
        await work_jobs(runtime)

        async def again() -> bool:
            try:
                async with runtime.database.transaction() as conn:
                    await resend_in(conn, runtime, sent.email_id)
            except Conflict:
                return False
            return True

        assert sorted(await asyncio.gather(again(), again(), again())) == [False, False, True]
        await work_jobs(runtime)
        assert len(provider.accepted) == 1


async def test_one_key_is_one_send_for_ever(running: RunningWith) -> None:
    provider = MemoryProvider()
    async with running(one_mail, provider=provider) as runtime:
        sent = await asyncio.gather(*(send_email(runtime, key="k") for _ in range(10)))
        assert len({each.email_id for each in sent}) == 1
        await work_jobs(runtime)
        assert len(provider.accepted) == 1


async def test_conservation_every_send_decision_has_one_row_in_a_final_state(
    running: RunningWith, clock: ManualClock
) -> None:
    @journey(id="two-mails", trigger="signup")
    async def two_mails(user: User, ctx: Context) -> None:
        await ctx.send("welcome")
        await ctx.sleep(days(1))
        await ctx.send("bye")

    provider = MemoryProvider()
    provider.faults = [TryLater("500"), ProviderRefused("no"), OutcomeUnknown("reset")]
    async with running(two_mails, one_mail, provider=provider) as runtime:
        for index in range(10):
            result = await send_event(runtime, "signup", email=f"p{index}@example.com")
            if index % 3 == 0:
                await _unsubscribe(runtime, result.contact_id)
        await drive_to_end(runtime, clock)
        triggers = await rows(
            runtime,
            "SELECT count(*) AS n FROM user_events e WHERE (SELECT count(*) FROM decisions d WHERE d.event_id = e.id"
            " AND d.kind IN ('enrolled', 'skipped')) <> 2",
        )
        assert triggers[0].n == 0
        unmatched = await rows(
            runtime,
            "SELECT count(*) AS n FROM decisions d WHERE d.kind = 'send' AND NOT EXISTS"
            " (SELECT 1 FROM email_sends s WHERE s.id = d.email_id AND s.status IN ('sent', 'failed'))",
        )
        assert unmatched[0].n == 0
        counted = await rows(
            runtime,
            "SELECT count(*) AS n, count(DISTINCT email_id) AS ids FROM decisions WHERE kind = 'send'",
        )
        assert counted[0].n == counted[0].ids


async def work_jobs(runtime: Runtime) -> None:
    while due := await due_jobs(runtime, 50):
        for job_id in due:
            await run_job(runtime, WORK, job_id, "test")


async def _unsubscribe(runtime: Runtime, contact_id) -> None:
    async with runtime.database.transaction() as conn:
        await unsubscribe(conn, runtime.clock, contact_id, source="test")
