"""Replay of one stored event: through the pipeline again, but for what stores it."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.enrollment.arrival import Arrival
from hogsend.errors import InvalidInput
from hogsend.events.event import Event
from hogsend.ingestion.pipeline import IngestResult, react
from hogsend.runtime import Runtime
from hogsend.storage.database import Record, lock_subjects
from hogsend.tables.contacts import contacts
from hogsend.tables.events import user_events
from hogsend.telemetry import traces


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
    arrival = Arrival(Event.of(row), contact, traces.current(), replayed=True)
    (exits,), (enrollments,) = await react(conn, runtime, [arrival])
    return IngestResult(True, arrival.event.id, contact["id"], tuple(exits), tuple(enrollments))


async def _locked_contact(conn: AsyncConnection, contact_id: UUID) -> Record:
    """The contact that an event belongs to now, under its lock; a merge may have moved it."""
    while True:
        await lock_subjects(conn, [contact_id])
        row = (await conn.execute(select(contacts).where(contacts.c.id == contact_id))).mappings().one()
        if row["merged_into"] is None:
            return row
        contact_id = row["merged_into"]
