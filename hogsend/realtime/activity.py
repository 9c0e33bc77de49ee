"""Appends to the activity log, which live streams and timelines read: one row in the transaction of each fact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.storage.bulk import BulkInsert
from hogsend.tables.realtime import ActivityKind, activity

_APPEND = BulkInsert(activity, ("at", "kind", "type", "ref_id", "contact_id", "journey_id"))


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row to append. `at` is product time; `ref_id` is the row that it speaks of."""

    at: datetime
    kind: ActivityKind
    type: str
    ref_id: UUID
    contact_id: UUID | None = None
    journey_id: str | None = None


async def record(
    conn: AsyncConnection,
    *,
    at: datetime,
    kind: ActivityKind,
    type: str,
    ref_id: UUID,
    contact_id: UUID | None = None,
    journey_id: str | None = None,
) -> None:
    """Append one row, in the transaction of the fact that it speaks of. `at` is product time.

    Streams see it when that transaction commits, in an order that every reader agrees on.
    """
    line = Line(at=at, kind=kind, type=type, ref_id=ref_id, contact_id=contact_id, journey_id=journey_id)
    await record_all(conn, [line])


async def record_all(conn: AsyncConnection, lines: Sequence[Line]) -> None:
    """Append several in this order, with one statement."""
    if lines:
        await conn.execute(_APPEND.statement, _APPEND.given([vars(line) for line in lines]))
