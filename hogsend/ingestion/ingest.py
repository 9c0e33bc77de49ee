"""Ingestion: an event, and everything that follows from it, committed in one transaction, or nothing is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.access.idempotency import input_hash, reused
from hogsend.contacts.identity_keys import Keys
from hogsend.contacts.resolve import resolve
from hogsend.engine.outbox import CAPTURE, publish_later
from hogsend.enrollment.on_event import Enrollment, Exit, enroll_matching, exit_matching, satisfy_waits
from hogsend.errors import InvalidInput
from hogsend.events.event import Event, NewEvent, check_event
from hogsend.realtime import activity
from hogsend.runtime import Runtime
from hogsend.storage.database import Record, lock_subjects
from hogsend.storage.metadata import new_id
from hogsend.tables.contacts import contacts
from hogsend.tables.events import event_keys, user_events
from hogsend.tables.realtime import ActivityKind
from hogsend.telemetry.counters import DEDUPLICATED, EVENTS, count_when_committed

_APPEND = insert(user_events).returning(user_events.c.seq)


@dataclass(frozen=True)
class IngestResult:
    """`stored` is False where the idempotency key was seen before: then nothing at all changed."""

    stored: bool
    event_id: UUID
    contact_id: UUID | None = None
    exits: tuple[Exit, ...] = ()
    enrollments: tuple[Enrollment, ...] = ()


async def ingest(runtime: Runtime, event: NewEvent) -> IngestResult:
    """Take one event in, in a transaction of its own.

    Raises `InvalidInput` for what the sender got wrong. When this returns, the event is committed, and whatever
    it set in motion will happen, engine up or down.
    """
    check_event(event, runtime.settings.nobodys_ids)
    async with runtime.database.transaction() as conn:
        result = await ingest_in(conn, runtime, event)
    runtime.fault_point("after_ingest_commit")
    return result


async def ingest_in(conn: AsyncConnection, runtime: Runtime, event: NewEvent) -> IngestResult:
    """The same inside the caller's transaction, for an `event` that `check_event` has passed."""
    now = runtime.clock.now()
    event_id = new_id()
    if event.idempotency_key is not None:
        seen = await _claim_key(conn, event, event.idempotency_key, event_id, now)
        if seen is not None:
            count_when_committed(conn, DEDUPLICATED.labels("event"))
            return IngestResult(stored=False, event_id=seen)
    keys = Keys.checked(event.external_id, event.email, event.anonymous_id)
    contact = (await resolve(conn, runtime.clock, keys, event.contact_properties)).contact
    stored = await _store(conn, event, event_id, contact["id"], now)
    count_when_committed(conn, EVENTS)
    runtime.fault_point("ingest_after_event")
    exits, enrollments = await react(conn, runtime, stored, contact)
    if runtime.settings.posthog_api_key is not None and event.source != "posthog":
        await publish_later(conn, runtime.clock, CAPTURE, {"event_id": str(event_id)})
    runtime.fault_point("before_ingest_commit")
    return IngestResult(True, event_id, contact["id"], tuple(exits), tuple(enrollments))


async def replay(runtime: Runtime, event_id: UUID) -> IngestResult:
    """Run a stored event through the pipeline again: exits, waits and entry guards, but no second event.

    Raises `InvalidInput` where there is no such event.
    """
    async with runtime.database.transaction() as conn:
        return await replay_in(conn, runtime, event_id)


async def replay_in(conn: AsyncConnection, runtime: Runtime, event_id: UUID) -> IngestResult:
    """`replay` in the caller's transaction."""
    found = await conn.execute(select(user_events).where(user_events.c.id == event_id))
    row = found.mappings().one_or_none()
    if row is None or row["contact_id"] is None:
        raise InvalidInput("eventId", "Event not found", code="NOT_FOUND")
    contact = await _locked_contact(conn, row["contact_id"])
    event = Event.of(row)
    exits, enrollments = await react(conn, runtime, event, contact, replayed=True)
    return IngestResult(True, event.id, contact["id"], tuple(exits), tuple(enrollments))


async def react(
    conn: AsyncConnection,
    runtime: Runtime,
    event: Event,
    contact: Record,
    *,
    replayed: bool = False,
) -> tuple[list[Exit], list[Enrollment]]:
    """Everything a stored event sets in motion, under the subject's lock that `resolve` took.

    Exits come first: a run that this event ends is not woken by it. A replayed event satisfies no waits, because
    a wait is for something that happens after it was armed.
    """
    exits = await exit_matching(conn, runtime, event, contact)
    if not replayed:
        await satisfy_waits(conn, runtime, event, contact)
    enrollments = await enroll_matching(conn, runtime, event, contact, replayed=replayed)
    return exits, enrollments


async def _locked_contact(conn: AsyncConnection, contact_id: UUID) -> Record:
    """The contact that an event belongs to now, under its lock; a merge may have moved it."""
    while True:
        await lock_subjects(conn, [contact_id])
        row = (await conn.execute(select(contacts).where(contacts.c.id == contact_id))).mappings().one()
        if row["merged_into"] is None:
            return row
        contact_id = row["merged_into"]


async def _claim_key(
    conn: AsyncConnection, event: NewEvent, key: str, event_id: UUID, now: datetime
) -> UUID | None:
    """None where the key is new; else the event that has it. Waits for a transaction that holds the same key.

    By the contract of the data plane a key seen before changes nothing, whatever comes with it. An operator's key
    raises `InvalidInput` where it was another event's.
    """
    content = _content_hash(event) if event.source == "enroll" else None
    statement = (
        pg_insert(event_keys)
        .values(key=key, event_id=event_id, created_at=now, content_hash=content)
        .on_conflict_do_nothing()
        .returning(event_keys.c.key)
    )
    if (await conn.execute(statement)).scalar_one_or_none() is not None:
        return None
    found = await conn.execute(
        select(event_keys.c.event_id, event_keys.c.content_hash).where(event_keys.c.key == key)
    )
    first = found.one()
    if content is not None and first.content_hash not in (None, content):
        raise reused()
    return UUID(str(first.event_id))


def _content_hash(event: NewEvent) -> str:
    return input_hash(
        {
            "name": event.name,
            "userId": event.external_id,
            "email": event.email,
            "properties": event.properties,
        }
    )


async def _store(
    conn: AsyncConnection, event: NewEvent, event_id: UUID, contact_id: UUID, now: datetime
) -> Event:
    occurred_at = event.occurred_at or now
    row = {
        "id": event_id,
        "contact_id": contact_id,
        "name": event.name,
        "properties": dict(event.properties),
        "source": event.source,
        "idempotency_key": event.idempotency_key,
        "occurred_at": occurred_at,
        "received_at": now,
        "depth": event.depth,
        "chain": event.chain,
    }
    seq = (await conn.execute(_APPEND, row)).scalar_one()
    await activity.record(
        conn, at=occurred_at, kind=ActivityKind.EVENT, type="received", ref_id=event_id, contact_id=contact_id
    )
    return Event(event_id, seq, event.name, event.properties, occurred_at, now, event.depth, event.chain)
