"""Follow the activity log: what came after a cursor, then each new row as it is committed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Select, literal_column, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.errors import InvalidInput
from hogsend.realtime.bus import Bus, Interest
from hogsend.realtime.cursor import StreamCursor
from hogsend.storage.database import Database
from hogsend.tables.realtime import activity

BATCH = 200
_a = activity.c
_BEHIND = text("(activity.txid, activity.seq) > (CAST(:txid AS xid8), :seq)")
_SETTLED = text("activity.txid < pg_snapshot_xmin(pg_current_snapshot())")
_FORGOTTEN = text(
    "SELECT 1 FROM activity_horizon WHERE (txid, seq) > (CAST(CAST(:txid AS text) AS xid8), CAST(:seq AS bigint))"
)
_UNSEEN = text("NOT pg_visible_in_snapshot(activity.txid, CAST(CAST(:snapshot AS text) AS pg_snapshot))")


@dataclass(frozen=True)
class ActivityEntry:
    """One row of the log, and the cursor behind it."""

    cursor: StreamCursor
    seq: int
    at: datetime
    kind: str
    type: str
    ref_id: UUID
    contact_id: UUID | None
    journey_id: str | None
    merged_by: UUID | None


@dataclass(frozen=True)
class ActivityFilter:
    """Which rows a stream is about. None does not restrict."""

    kinds: Collection[str] | None = None
    contact_id: UUID | None = None
    journey_id: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        if self.kinds is not None:
            found.append(_a.kind.in_(tuple(self.kinds)))
        if self.contact_id is not None:
            found.append(_a.contact_id == self.contact_id)
        if self.journey_id is not None:
            found.append(_a.journey_id == self.journey_id)
        return found

    def interest(self) -> Interest:
        return Interest(
            kinds=frozenset(self.kinds) if self.kinds is not None else None,
            contact_id=str(self.contact_id) if self.contact_id else None,
            journey_id=self.journey_id,
        )


async def head(conn: AsyncConnection) -> StreamCursor:
    """The cursor behind everything that the current snapshot shows.

    Read it in one transaction (REPEATABLE READ) with what you show: snapshot and stream then meet exactly.
    """
    snapshot = (await conn.execute(text("SELECT pg_current_snapshot()::text"))).scalar_one()
    return StreamCursor.of_snapshot(snapshot)


async def check_kept(conn: AsyncConnection, after: StreamCursor) -> None:
    """Raise `InvalidInput` where rows behind `after` may have been forgotten: nobody can go on from there."""
    forgotten = await conn.execute(_FORGOTTEN, {"txid": str(after.txid), "seq": after.seq})
    if forgotten.first() is not None:
        raise InvalidInput(
            "after",
            "after is older than the activity that is kept, so what lies between may be gone: "
            "read the lists anew, and follow without it",
            code="INVALID_CURSOR",
        )


async def read_after(
    conn: AsyncConnection, selection: ActivityFilter, after: StreamCursor, limit: int = BATCH
) -> list[ActivityEntry]:
    """The next rows behind `after`, oldest first. One statement."""
    query: Select[tuple[object, ...]] = (
        select(
            literal_column("activity.txid::text").label("txid"),
            _a.seq,
            _a.at,
            _a.kind,
            _a.type,
            _a.ref_id,
            _a.contact_id,
            _a.journey_id,
            _a.merged_by,
        )
        .where(*selection.conditions(), _BEHIND, _SETTLED)
        .order_by(_a.txid, _a.seq)
        .limit(limit)
    )
    values: dict[str, object] = {"txid": after.txid, "seq": after.seq}
    if after.snapshot is not None:
        query = query.where(_UNSEEN)
        values["snapshot"] = after.snapshot
    rows = (await conn.execute(query, values)).all()
    return [
        ActivityEntry(
            after.at(int(row.txid), row.seq),
            row.seq,
            row.at,
            row.kind,
            row.type,
            row.ref_id,
            row.contact_id,
            row.journey_id,
            row.merged_by,
        )
        for row in rows
    ]


async def follow(
    database: Database, bus: Bus, selection: ActivityFilter, after: StreamCursor | None = None
) -> AsyncIterator[list[ActivityEntry]]:
    """Batches of rows behind `after` (default: from now on), without end. Holds no connection while it waits."""
    with bus.listen(selection.interest()) as wakeups:
        if after is None:
            async with database.read() as conn:
                after = await head(conn)
        while True:
            async with database.read() as conn:
                entries = await read_after(conn, selection, after)
            if entries:
                after = entries[-1].cursor
                wakeups.progressed()
                yield entries
            else:
                await wakeups.wait()
