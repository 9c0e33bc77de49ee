"""The send protocol over a real wire, to a Resend that fails in every way it can. It counts what it accepted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import httpx
import pytest

from hogsend.clock import ManualClock
from hogsend.emails.providers.resend import ResendProvider
from hogsend.emails.sending.protocol import SendOutcome, deliver
from hogsend.runtime import Runtime
from tests.fixtures.emails import MakePerson, Prepare, facts_of, the_send
from tests.standins import resend as standin
from tests.standins.http import Hold, Reset
from tests.standins.resend import ResendStandIn, webhook


@pytest.fixture
async def resend(runtime: Runtime, clock: ManualClock) -> AsyncIterator[ResendStandIn]:
    """The runtime sends through this one."""
    async with ResendStandIn(clock) as server:
        provider = ResendProvider(
            api_key=standin.API_KEY, api_url=server.url, clock=clock, whole_call=timedelta(milliseconds=300)
        )
        runtime.provider = provider
        yield server
        await provider.close()


async def until_final(runtime: Runtime, clock: ManualClock, email_id: UUID) -> SendOutcome:
    """Deliver again as often as the protocol asks, at the times it asks for."""
    while (outcome := await deliver(runtime, email_id)).state == "later":
        assert outcome.retry_in is not None
        clock.advance(outcome.retry_in)
    return outcome


async def test_accepted_and_then_reset_is_one_email_with_the_same_bytes(
    resend: ResendStandIn, runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare
) -> None:
    email_id = await prepared(await person())
    resend.faults.extend([Reset(accepted=True), Reset(accepted=True), Hold()])
    outcome = await until_final(runtime, clock, email_id)
    assert outcome.state == "sent"
    assert outcome.message_id == resend.accepted[0].id
    assert resend.by_key == {str(email_id): 1}
    assert len({request.body for request in resend.requests}) == 1
    assert len(resend.requests) == 4


async def test_a_lost_answer_and_a_day_of_outage_is_left_to_a_person(
    resend: ResendStandIn, runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare
) -> None:
    email_id = await prepared(await person())
    resend.faults.append(Reset(accepted=True))
    resend.outage = Reset(accepted=False)
    outcome = await until_final(runtime, clock, email_id)
    assert outcome.state == "unknown"
    resend.outage = None
    clock.advance(timedelta(hours=2))
    await deliver(runtime, email_id)
    assert resend.by_key == {str(email_id): 1}
    assert (await the_send(runtime, email_id)).outcome_unknown


async def test_what_the_provider_reports_later_settles_it(
    resend: ResendStandIn,
    runtime: Runtime,
    clock: ManualClock,
    site: httpx.AsyncClient,
    person: MakePerson,
    prepared: Prepare,
) -> None:
    email_id = await prepared(await person())
    resend.faults.append(Reset(accepted=True))
    resend.outage = Reset(accepted=False)
    await until_final(runtime, clock, email_id)
    (taken,) = resend.accepted
    tags = {tag["name"]: tag["value"] for tag in taken.body["tags"]}
    body, headers = webhook("email.delivered", message_id=taken.id, at=clock.wall(), tags=tags)
    assert (await site.post("/v1/webhooks/resend", content=body, headers=headers)).status_code == 200
    send = await the_send(runtime, email_id)
    assert (send.status, send.outcome_unknown, send.message_id) == ("delivered", False, taken.id)
    assert await facts_of(runtime, email_id) == ["queued", "failed", "delivered"]


async def test_six_hours_of_errors_and_then_everyone_once(
    resend: ResendStandIn, runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare
) -> None:
    people = [f"person{n}@example.com" for n in range(4)]
    sends = [await prepared(await person(address), key=address) for address in people]
    resend.outage = standin.SERVER_ERROR
    end = clock.wall() + timedelta(hours=6)
    while clock.wall() < end:
        outcomes = await asyncio.gather(*(deliver(runtime, email_id) for email_id in sends))
        assert {outcome.state for outcome in outcomes} == {"later"}
        clock.advance(max(outcome.retry_in or timedelta(0) for outcome in outcomes))
    resend.outage = None
    outcomes = await asyncio.gather(*(deliver(runtime, email_id) for email_id in sends))
    assert {outcome.state for outcome in outcomes} == {"sent"}
    assert resend.sent_to == dict.fromkeys(people, 1)


async def test_a_storm_of_429_is_waited_out_as_asked(
    resend: ResendStandIn, runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare
) -> None:
    email_id = await prepared(await person())
    resend.faults.extend(standin.too_many(seconds) for seconds in (90, 3, 600))
    waits = []
    while (outcome := await deliver(runtime, email_id)).state == "later":
        assert outcome.retry_in is not None
        waits.append(outcome.retry_in.total_seconds())
        clock.advance(outcome.retry_in - timedelta(seconds=1))
        tries = len(resend.requests)
        assert (await deliver(runtime, email_id)).state == "later"
        assert len(resend.requests) == tries
        clock.advance(timedelta(seconds=1))
    assert waits == [90, 10, 600]  # Ours is longer than the three seconds that were asked for.
    assert resend.by_key == {str(email_id): 1}


async def test_a_refused_message_is_tried_once(
    resend: ResendStandIn, runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare
) -> None:
    email_id = await prepared(await person())
    resend.faults.append(standin.error(422, "validation_error", "Invalid `to`"))
    outcome = await until_final(runtime, clock, email_id)
    assert (outcome.state, outcome.error) == ("failed", "Resend answered 422 validation_error: Invalid `to`")
    assert len(resend.requests) == 1
