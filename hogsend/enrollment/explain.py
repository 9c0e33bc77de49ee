"""Explanation of an enrollment: the guards of a person and a journey, as they were or as they are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.consent.refusal import SendRefusal, refusal
from hogsend.decisions.reasons import DecisionKind
from hogsend.enrollment.condition_facts import ContactFacts
from hogsend.enrollment.entry_history import entry_histories
from hogsend.enrollment.guards import Guard, check_entry
from hogsend.errors import NotFound
from hogsend.journeys.definition import Journey
from hogsend.runtime import Runtime
from hogsend.tables.contacts import contacts
from hogsend.tables.decisions import decisions
from hogsend.tables.events import user_events


@dataclass(frozen=True)
class Explanation:
    """`recorded` says that this is the verdict of `at`; else the guards were asked just now.

    `email_refusal`: why an email of the journey would be withheld now, whether the contact is let in or not.
    """

    recorded: bool
    at: datetime
    enrolled: bool
    guards: tuple[Guard, ...]
    decision_id: UUID | None
    email_refusal: SendRefusal | None


async def explain_enrollment(
    conn: AsyncConnection, runtime: Runtime, journey: Journey, contact_id: UUID, event_id: UUID | None
) -> Explanation:
    """The recorded decision for that event where there is one, else what ingestion would decide now.

    Without an event, the newest recorded decision. Raises `NotFound` for an unknown contact.
    """
    contact = (
        (await conn.execute(select(contacts).where(contacts.c.id == contact_id))).mappings().one_or_none()
    )
    if contact is None:
        raise NotFound("Contact")
    withheld = None
    if contact["email"] is not None:
        withheld = await refusal(
            conn, contact_id=contact_id, email=contact["email"], category=journey.category
        )
    recorded = await _recorded(conn, journey, contact_id, event_id)
    if recorded is not None:
        guards = tuple(Guard.from_json(item) for item in recorded["detail"].get("guards", ()))
        return Explanation(
            True,
            recorded["at"],
            recorded["kind"] == DecisionKind.ENROLLED.value,
            guards,
            recorded["id"],
            withheld,
        )
    event = None
    if event_id is not None:
        event = (
            await conn.execute(select(user_events.c.properties).where(user_events.c.id == event_id))
        ).one_or_none()
    facts = ContactFacts(
        conn,
        contact_id,
        now=runtime.clock.now(),
        event_properties=event.properties if event else {},
        contact_properties=contact["properties"],
    )
    known = await entry_histories(conn, [(contact_id, journey.id)])
    asked = await check_entry(journey, contact, known[contact_id, journey.id], facts)
    return Explanation(
        False,
        runtime.clock.now(),
        all(guard.outcome == "passed" for guard in asked),
        tuple(asked),
        None,
        withheld,
    )


async def _recorded(
    conn: AsyncConnection, journey: Journey, contact_id: UUID, event_id: UUID | None
) -> RowMapping | None:
    query = (
        select(decisions)
        .where(
            decisions.c.journey_id == journey.id,
            decisions.c.contact_id == contact_id,
            decisions.c.kind.in_((DecisionKind.ENROLLED.value, DecisionKind.SKIPPED.value)),
        )
        .order_by(decisions.c.at.desc(), decisions.c.id.desc())
        .limit(1)
    )
    if event_id is not None:
        query = query.where(decisions.c.event_id == event_id)
    found: RowMapping | None = (await conn.execute(query)).mappings().one_or_none()
    return found
