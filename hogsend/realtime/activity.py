"""Write to the activity log: the one place that live streams and timelines read."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.realtime.tables import activity


async def record(
    conn: AsyncConnection,
    *,
    at: datetime,
    kind: str,
    type: str,
    ref_id: UUID,
    contact_id: UUID | None = None,
    journey_id: str | None = None,
) -> None:
    """Append one row, in the transaction of the fact that it speaks of. `at` is product time.

    Streams see it when that transaction commits, in an order that every reader agrees on.
    """
    await conn.execute(
        insert(activity).values(
            at=at, kind=kind, type=type, ref_id=ref_id, contact_id=contact_id, journey_id=journey_id
        )
    )
