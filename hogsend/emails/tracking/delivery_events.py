"""Delivery events of a send: each recorded once, in whatever order they arrive; the status only climbs.

Anyone who has an email can open and click it without end. What a reader repeats within a few minutes is counted on the
row of the first time, so that no table grows by it (`visits`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.clock import Clock
from hogsend.consent import suppression
from hogsend.consent.ledger import address_lock
from hogsend.emails.tracking.status import climb
from hogsend.emails.tracking.visits import OF_READERS, UNSEEN, Visit, count_repeat, reported_visit
from hogsend.realtime import activity
from hogsend.storage.database import lock_subjects
from hogsend.storage.metadata import new_id
from hogsend.tables.emails import email_events, email_sends, provider_events
from hogsend.tables.realtime import ActivityKind

# Each of these proves that the provider took the message, whatever we were told at the time.
INSTANTS: Mapping[str, ColumnElement[Any]] = {
    "sent": email_sends.c.sent_at,
    "delivered": email_sends.c.delivered_at,
    "opened": email_sends.c.opened_at,
    "clicked": email_sends.c.clicked_at,
    "bounced": email_sends.c.bounced_at,
    "complained": email_sends.c.complained_at,
}
# Happen to a send once; a second report, by another route, is the same fact.
_ONCE = frozenset({"queued", "sent", "delivered", "complained"})
# Change what may be sent to the reader, so they need the reader's lock.
_ABOUT_THE_READER = frozenset({"bounced", "complained"})

_sends = email_sends.c


async def record_fact(
    conn: AsyncConnection,
    *,
    email_id: UUID,
    type: str,
    at: datetime,
    visit: Visit = UNSEEN,
    detail: str | None = None,
    provider_event_id: str | None = None,
    hard: bool = True,
) -> bool:
    """Record one fact about a send, at a product time. False where it was known, or there is no such send.

    The status climbs, the first instant of its kind is kept, and the activity log gets a row, in the caller's
    transaction. A `visit` that is a repeat is counted (`count_repeat`), and is not a new fact.
    A complaint, and a bounce that is `hard`, suppress the address.

    Locks the send's row; for a bounce or a complaint the locks of the address and the contact come first, so a caller
    that already holds the row must hold those too.
    """
    if type in _ABOUT_THE_READER:
        await _lock_reader(conn, email_id)
    found = await conn.execute(select(email_sends).where(_sends.id == email_id).with_for_update())
    send = found.one_or_none()
    if send is None or (type in _ONCE and await _is_known(conn, email_id, type)):
        return False
    reported = provider_event_id is not None
    if reported and await _is_settled(conn, str(provider_event_id)):
        return False
    of_reader = type in OF_READERS and visit is not UNSEEN
    if of_reader and await count_repeat(conn, send.id, type, at, visit, reported=reported):
        if send.outcome_unknown:
            await _move(conn, send, type, at, answered=False)
        return False
    fact = {"email_id": email_id, "type": type, "at": at, "detail": detail, **asdict(visit)}
    if not await _append(conn, {**fact, "provider_event_id": provider_event_id}):
        return False
    await _move(conn, send, type, at, answered=reported)
    if type in _ABOUT_THE_READER:
        await _note_about_reader(conn, send, type, at, detail, hard=hard)
    person = {"contact_id": send.contact_id, "journey_id": send.journey_id}
    await activity.record(conn, at=at, kind=ActivityKind.EMAIL, type=type, ref_id=email_id, **person)
    return True


async def _append(conn: AsyncConnection, fact: Mapping[str, Any]) -> bool:
    """False where an event of the provider's with the same id was appended before."""
    written = await conn.execute(
        insert(email_events)
        .values(id=new_id(), **fact)
        .on_conflict_do_nothing(index_elements=["provider_event_id"])
        .returning(email_events.c.id)
    )
    return written.scalar_one_or_none() is not None


async def _lock_reader(conn: AsyncConnection, email_id: UUID) -> None:
    found = await conn.execute(select(_sends.contact_id, _sends.to_email).where(_sends.id == email_id))
    send = found.one_or_none()
    if send is None:
        return
    await lock_subjects(conn, [address_lock(send.to_email)])
    if send.contact_id is not None:
        await lock_subjects(conn, [send.contact_id])


async def _is_known(conn: AsyncConnection, email_id: UUID, type: str) -> bool:
    known = await conn.execute(
        select(email_events.c.id)
        .where(email_events.c.email_id == email_id, email_events.c.type == type)
        .limit(1)
    )
    return known.first() is not None


async def _is_settled(conn: AsyncConnection, provider_event_id: str) -> bool:
    """Whether this report was recorded before. The caller holds the send's row, as whoever recorded it did."""
    known = await conn.execute(
        select(provider_events.c.processed_at).where(provider_events.c.id == provider_event_id)
    )
    return known.scalar_one_or_none() is not None


async def _move(conn: AsyncConnection, send: Row[Any], type: str, at: datetime, *, answered: bool) -> None:
    """`answered`: the provider says it, so that an outcome which was unknown no longer is."""
    values: dict[str, Any] = {"updated_at": func.greatest(_sends.updated_at, at)}
    status = send.status
    if send.outcome_unknown and (type in INSTANTS or (type == "failed" and answered)):
        values["outcome_unknown"] = False
        if status == "failed":
            # We had given up without an answer. This is the answer, so it counts from where the send stood.
            status = "rendered"
            values |= {"refusal": None, "error": None}
    values["status"] = climb(status, type)
    if type in INSTANTS:
        column = INSTANTS[type]
        values[f"{type}_at"] = func.least(column, at)
    await conn.execute(update(email_sends).where(_sends.id == send.id).values(values))


async def _note_about_reader(
    conn: AsyncConnection, send: Row[Any], type: str, at: datetime, detail: str | None, *, hard: bool
) -> None:
    if type == "bounced" and send.contact_id is not None:
        await suppression.count_bounce(conn, at, send.contact_id, send.to_email)
    if type == "complained" or hard:
        await suppression.suppress_at(
            conn,
            at,
            send.to_email,
            "complaint" if type == "complained" else "bounce",
            contact_id=send.contact_id,
            email_id=send.id,
            detail=detail,
        )


async def match_provider_events(conn: AsyncConnection, clock: Clock, message_id: str, email_id: UUID) -> int:
    """Record what the provider reported about this send before we knew its message id. Returns how many were new.

    Part of the transaction that commits `sent`. Locks as `record_fact` does.
    """
    events = provider_events.c
    waiting = await conn.execute(
        select(provider_events)
        .where(events.message_id == message_id, events.processed_at.is_(None))
        .order_by(events.received_at, events.id)
    )
    recorded = 0
    for event in waiting.all():
        recorded += await apply_provider_event(conn, clock, event, email_id)
    return recorded


async def apply_provider_event(conn: AsyncConnection, clock: Clock, event: Row[Any], email_id: UUID) -> bool:
    """Record the fact of one stored row of `provider_events`, and mark it processed. False where it was known."""
    fact: Mapping[str, Any] = event.payload["fact"]
    recorded = await record_fact(
        conn,
        email_id=email_id,
        type=fact["type"],
        at=datetime.fromisoformat(fact["at"]),
        visit=await reported_visit(conn, email_id, fact),
        detail=fact.get("detail"),
        hard=bool(fact.get("hard", True)),
        provider_event_id=event.id,
    )
    await conn.execute(
        update(email_sends)
        .where(_sends.id == email_id, _sends.message_id.is_(None))
        .values(message_id=event.message_id)
    )
    await conn.execute(
        update(provider_events)
        .where(provider_events.c.id == event.id)
        .values(processed_at=clock.now(), email_id=email_id)
    )
    return recorded
