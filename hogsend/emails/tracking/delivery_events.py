"""Delivery events of a send: each recorded once, in whatever order they arrive; the status only climbs.

Anyone who has an email can open and click it without end. What a reader repeats within a few minutes is counted on the
row of the first time, so that no table grows by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.clock import Clock
from hogsend.consent import suppression
from hogsend.consent.ledger import address_lock
from hogsend.emails.tracking.status import climb
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

# One reader's visit: what the same agent at the same address repeats within it is counted, not recorded anew.
VISIT = timedelta(minutes=10)
# Opens of a send, or clicks of a link, that have a row of their own; whoever comes later is counted on the latest.
MOST_VISITS = 100

_sends = email_sends.c
_events = email_events.c


@dataclass(frozen=True)
class Visit:
    """What is known of a reader who opened or clicked: which link, and from where."""

    link_id: UUID | None = None
    url: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None


UNSEEN = Visit()


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
    transaction. A `visit` that is a repeat is counted (`_count_repeat`), and is not a new fact.
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
    if (
        visit is not UNSEEN
        and provider_event_id is None
        and await _count_repeat(conn, send.id, type, at, visit)
    ):
        if send.outcome_unknown:
            await _move(conn, send, type, at, answered=False)
        return False
    fact = {"email_id": email_id, "type": type, "at": at, "detail": detail, **asdict(visit)}
    if not await _append(conn, {**fact, "provider_event_id": provider_event_id}):
        return False
    await _move(conn, send, type, at, answered=provider_event_id is not None)
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


async def _count_repeat(conn: AsyncConnection, email_id: UUID, type: str, at: datetime, visit: Visit) -> bool:
    """Count what a reader did on the row of the visit that it belongs to. False where it begins a new one.

    The caller holds the send's row, so of two at once the second sees the first.
    """
    known = (
        select(
            _events.id,
            _events.at,
            and_(
                _events.at > at - VISIT,
                _events.user_agent.is_not_distinct_from(visit.user_agent),
                _events.ip_address.is_not_distinct_from(visit.ip_address),
            ).label("same"),
            func.count().over().label("visits"),
        )
        .where(
            _events.email_id == email_id,
            _events.type == type,
            _events.link_id.is_not_distinct_from(visit.link_id),
            _events.provider_event_id.is_(None),
        )
        .subquery()
    )
    row = (
        select(known.c.id)
        .where(or_(known.c.same, known.c.visits >= MOST_VISITS))
        .order_by(known.c.same.desc(), known.c.at.desc())
        .limit(1)
        .scalar_subquery()
    )
    counted = await conn.execute(
        update(email_events)
        .where(_events.id == row)
        .values(count=_events["count"] + 1, last_at=func.greatest(_events.last_at, at))
        .returning(_events.id)
    )
    return counted.scalar_one_or_none() is not None


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
        visit=Visit(
            url=fact.get("url"), ip_address=fact.get("ip_address"), user_agent=fact.get("user_agent")
        ),
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
