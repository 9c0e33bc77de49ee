"""Facts about a send: recorded once, in any order, each with its row in the activity log."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import permutations
from uuid import uuid4

import pytest
from sqlalchemy import select, update

from hogsend.clock import ManualClock
from hogsend.consent.refusal import refusal
from hogsend.consent.suppression import TRANSACTIONAL
from hogsend.decisions.reasons import Reason
from hogsend.emails.tracking.delivery_events import record_fact
from hogsend.emails.tracking.visits import Visit
from hogsend.runtime import Runtime
from hogsend.tables.emails import email_sends, suppressions
from hogsend.tables.realtime import activity
from tests.fixtures.emails import MakePerson, Prepare, facts_of, preferences_of, reasons_of, the_send


async def test_a_fact_leaves_its_row_its_instant_and_its_activity(
    runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare
) -> None:
    ada = await person()
    email_id = await prepared(ada, journey_id="a-journey")
    async with runtime.database.transaction() as conn:
        assert await record_fact(
            conn, email_id=email_id, type="opened", at=clock.now(), visit=Visit(ip_address="10.0.0.1")
        )
    send = await the_send(runtime, email_id)
    assert (send.status, send.opened_at) == ("opened", clock.now())
    assert await facts_of(runtime, email_id) == ["queued", "opened"]
    async with runtime.database.read() as conn:
        rows = (await conn.execute(select(activity).where(activity.c.kind == "email"))).all()
    assert [(row.type, row.ref_id, row.contact_id, row.journey_id) for row in rows] == [
        ("queued", email_id, ada["id"], "a-journey"),
        ("opened", email_id, ada["id"], "a-journey"),
    ]


async def test_a_fact_about_no_send_is_none(runtime: Runtime, clock: ManualClock) -> None:
    for fact in ("opened", "bounced"):
        async with runtime.database.transaction() as conn:
            assert not await record_fact(conn, email_id=uuid4(), type=fact, at=clock.now())


async def test_the_same_provider_event_counts_once_and_each_open_counts(
    runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare
) -> None:
    email_id = await prepared(await person())

    async def tell(type: str, event_id: str | None) -> bool:
        async with runtime.database.transaction() as conn:
            return await record_fact(
                conn, email_id=email_id, type=type, at=clock.now(), provider_event_id=event_id
            )

    told = [
        await tell(*each)
        for each in [
            ("delivered", "e1"),
            ("delivered", "e1"),
            ("delivered", "e2"),
            ("opened", "e3"),
            ("opened", "e3"),
            ("opened", None),
            ("opened", None),
        ]
    ]
    assert told == [True, False, False, True, False, True, True]


async def test_one_fact_told_at_once_from_many_sides_is_one(
    runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare
) -> None:
    email_id = await prepared(await person())

    async def tell(event_id: str) -> bool:
        async with runtime.database.transaction() as conn:
            return await record_fact(
                conn, email_id=email_id, type="bounced", at=clock.now(), provider_event_id=event_id
            )

    told = await asyncio.gather(*(tell("same") for _ in range(8)))
    assert sum(told) == 1
    assert (await facts_of(runtime, email_id)) == ["queued", "bounced"]


@pytest.mark.parametrize("order", list(permutations(["delivered", "opened", "clicked", "complained"]))[::5])
async def test_the_order_of_arrival_changes_nothing(
    runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare, order: tuple[str, ...]
) -> None:
    email_id = await prepared(await person())
    happened = {fact: clock.now() + timedelta(minutes=n) for n, fact in enumerate(sorted(order))}
    for fact in order:
        for _ in range(2):
            async with runtime.database.transaction() as conn:
                await record_fact(
                    conn, email_id=email_id, type=fact, at=happened[fact], provider_event_id=f"e-{fact}"
                )
    send = await the_send(runtime, email_id)
    assert send.status == "complained"
    assert {fact: getattr(send, f"{fact}_at") for fact in order} == happened


async def test_the_first_instant_is_kept_however_late_it_is_told(
    runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare
) -> None:
    email_id = await prepared(await person())
    for minutes in (10, 5, 20):
        async with runtime.database.transaction() as conn:
            await record_fact(
                conn, email_id=email_id, type="opened", at=clock.now() + timedelta(minutes=minutes)
            )
    assert (await the_send(runtime, email_id)).opened_at == clock.now() + timedelta(minutes=5)


async def test_proof_of_delivery_settles_an_unknown_outcome(
    runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare
) -> None:
    email_id = await prepared(await person())
    async with runtime.database.transaction() as conn:
        await conn.execute(
            update(email_sends)
            .where(email_sends.c.id == email_id)
            .values(outcome_unknown=True, refusal="outcome_unknown", error="no answer")
        )
        await record_fact(conn, email_id=email_id, type="failed", at=clock.now())
    given_up = await the_send(runtime, email_id)
    assert (given_up.status, given_up.outcome_unknown) == ("failed", True)
    async with runtime.database.transaction() as conn:
        await record_fact(conn, email_id=email_id, type="sent", at=clock.now(), provider_event_id="e1")
    settled = await the_send(runtime, email_id)
    assert (settled.status, settled.outcome_unknown) == ("sent", False)
    assert (settled.refusal, settled.error) == (None, None)


async def test_a_hard_bounce_suppresses_and_is_counted(
    runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare
) -> None:
    ada = await person()
    email_id = await prepared(ada)
    async with runtime.database.transaction() as conn:
        await record_fact(conn, email_id=email_id, type="bounced", at=clock.now(), detail="no such mailbox")
    said = await preferences_of(runtime, ada["id"])
    assert (said.suppressed, said.bounce_count, said.last_bounce_at) == (True, 1, clock.now())
    async with runtime.database.read() as conn:
        row = (await conn.execute(select(suppressions))).one()
    assert (row.email, row.type, row.email_id) == ("ada@example.com", "bounce", email_id)
    assert await reasons_of(runtime, "preference") == [
        ("bounced", {"address": "ada@example.com", "detail": "no such mailbox"})
    ]


async def test_a_soft_bounce_is_counted_and_no_more(
    runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare
) -> None:
    ada = await person()
    email_id = await prepared(ada)
    async with runtime.database.transaction() as conn:
        await record_fact(conn, email_id=email_id, type="bounced", at=clock.now(), hard=False)
    said = await preferences_of(runtime, ada["id"])
    assert (said.suppressed, said.bounce_count) == (False, 1)
    assert (await the_send(runtime, email_id)).status == "bounced"


async def test_a_bounce_of_an_old_address_leaves_the_new_one_alone(
    runtime: Runtime, clock: ManualClock, person: MakePerson, prepared: Prepare
) -> None:
    ada = await person("new@example.com")
    email_id = await prepared(ada, to="old@example.com")
    async with runtime.database.transaction() as conn:
        await record_fact(conn, email_id=email_id, type="bounced", at=clock.now())
        refused = await refusal(conn, contact_id=None, email="old@example.com", category=TRANSACTIONAL)
        assert refused is not None
        assert refused.reason is Reason.ADDRESS_BOUNCED
    assert await preferences_of(runtime, ada["id"]) is None
