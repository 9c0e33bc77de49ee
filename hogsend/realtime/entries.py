"""Rows of the activity log as streams read them: in the order of their positions, filtered."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Text, cast, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.realtime.cursor import Snapshot, StreamCursor
from hogsend.tables.realtime import activity, activity_order, activity_rounds

BATCH = 200
_a, _o, _r = activity.c, activity_order.c, activity_rounds.c


@dataclass(frozen=True)
class ActivityEntry:
    """One row of the log, and the cursor behind it."""

    cursor: StreamCursor
    txid: int
    seq: int
    at: datetime
    kind: str
    type: str
    ref_id: UUID
    contact_id: UUID | None
    journey_id: str | None
    merged_by: UUID | None

    @property
    def pos(self) -> int:
        return self.cursor.pos

    def behind(self, shown: Snapshot) -> ActivityEntry:
        """The same for a reader to whom a list showed `shown`, some of which may be numbered after this row."""
        return replace(self, cursor=StreamCursor(self.pos, str(shown)))


@dataclass(frozen=True)
class ActivityFilter:
    """Which rows a stream is about. None does not restrict."""

    kinds: Collection[str] | None = None
    contact_id: UUID | None = None
    journey_id: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        if self.kinds is not None:
            found.append(_o.kind.in_(tuple(self.kinds)))
        if self.contact_id is not None:
            found.append(_a.contact_id == self.contact_id)
        if self.journey_id is not None:
            found.append(_a.journey_id == self.journey_id)
        return found

    def takes(self, entry: ActivityEntry) -> bool:
        return (
            (self.kinds is None or entry.kind in self.kinds)
            and (self.contact_id is None or entry.contact_id == self.contact_id)
            and (self.journey_id is None or entry.journey_id == self.journey_id)
        )


EVERYTHING = ActivityFilter()
_COLUMNS: tuple[ColumnElement[Any], ...] = (
    _o.pos,
    literal_column("CAST(activity.txid AS text)").label("txid"),
    _a.seq,
    _a.at,
    _a.kind,
    _a.type,
    _a.ref_id,
    _a.contact_id,
    _a.journey_id,
    _a.merged_by,
)


async def read_after(
    conn: AsyncConnection,
    selection: ActivityFilter,
    after: int,
    *,
    until: int | None = None,
    limit: int = BATCH,
) -> list[ActivityEntry]:
    """The next rows behind position `after`, at most to `until`, oldest first. One statement."""
    conditions = [*selection.conditions(), _o.pos > after]
    if until is not None:
        conditions.append(_o.pos <= until)
    query = _in_order(*_COLUMNS).where(*conditions).limit(limit)
    return [_entry(row) for row in (await conn.execute(query)).all()]


async def read_news(
    conn: AsyncConnection, after: int, limit: int
) -> tuple[list[ActivityEntry], Snapshot | None]:
    """All rows behind position `after`, at most `limit`, and what was numbered then. One statement.

    None where more rows follow, or where there are none: a round always numbers some.
    """
    latest = select(cast(_r.snapshot, Text)).order_by(_r.round.desc()).limit(1).scalar_subquery()
    query = _in_order(*_COLUMNS, latest.label("numbered")).where(_o.pos > after).limit(limit)
    rows = (await conn.execute(query)).all()
    numbered = Snapshot.parse(rows[-1].numbered) if 0 < len(rows) < limit else None
    return [_entry(row[:-1]) for row in rows], numbered


def _in_order(*columns: ColumnElement[Any]) -> Select[tuple[Any, ...]]:
    return select(*columns).join_from(activity_order, activity, _o.seq == _a.seq).order_by(_o.pos)


def _entry(row: Sequence[Any]) -> ActivityEntry:
    pos, txid, *rest = row
    return ActivityEntry(StreamCursor(pos), int(txid), *rest)
