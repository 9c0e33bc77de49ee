"""Follow the activity log: what came after a cursor, then each new row as it is numbered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.errors import InvalidInput
from hogsend.realtime.cursor import Snapshot, StreamCursor
from hogsend.realtime.entries import ActivityEntry, ActivityFilter, read_after
from hogsend.realtime.order import Head, is_numbered, read_head

if TYPE_CHECKING:
    from hogsend.realtime.hub import Hub

__all__ = ["ActivityEntry", "ActivityFilter", "begin", "follow", "head", "read_after"]

_HORIZON = text("SELECT pos FROM activity_horizon")


async def head(conn: AsyncConnection) -> StreamCursor:
    """The cursor behind everything that the current snapshot shows.

    Read it in one transaction (REPEATABLE READ) with what you show: snapshot and stream then meet exactly.
    """
    found = await read_head(conn)
    return StreamCursor(found.pos, str(found.now))


async def begin(conn: AsyncConnection, after: StreamCursor | None) -> StreamCursor:
    """Where a stream begins: at `after`, or now. The snapshot goes as soon as nothing in it is without a position.

    Raises `InvalidInput` where nobody can go on from `after`: rows behind it may have been forgotten, or it is of
    another database.
    """
    found = await read_head(conn)
    if after is None:
        after = StreamCursor(found.pos, str(found.now))
    else:
        await _check(conn, after, found)
    shown = after.snapshot
    if shown is None:
        return after
    if not shown.is_covered_by(found.numbered):
        if not await is_numbered(conn, shown):
            return after
        found = await read_head(conn)
    # Between the cursor's position and the head there may still be rows that it showed.
    return StreamCursor(after.pos) if after.pos == found.pos else after


async def _check(conn: AsyncConnection, after: StreamCursor, found: Head) -> None:
    horizon = (await conn.execute(_HORIZON)).scalar()
    if horizon is not None and after.pos < horizon:
        raise InvalidInput(
            "after",
            "after is older than the activity that is kept, so what lies between may be gone: "
            "read the lists anew, and follow without it",
            code="INVALID_CURSOR",
        )
    ahead = after.snapshot is not None and after.snapshot.xmax > found.now.xmax
    if after.pos > found.pos or ahead:
        raise InvalidInput(
            "after",
            "after lies ahead of the activity log, so it is of another database, or of one that was restored: "
            "read the lists anew, and follow without it",
            code="INVALID_CURSOR",
        )


async def follow(
    hub: Hub, selection: ActivityFilter, after: StreamCursor
) -> AsyncIterator[list[ActivityEntry]]:
    """Batches of rows behind `after`, without end; each entry's cursor resumes behind it.

    What lies before the hub's position is read from Postgres, and the rest comes from the hub, which reads it once
    for everybody. Holds no connection while it waits.
    """
    pos, shown = after.pos, after.snapshot
    async with hub.listen(selection) as feed:
        while True:
            taken = await feed.take() if pos >= feed.since else []
            while pos < feed.since:
                async with hub.reading() as conn:
                    found = await read_after(conn, selection, pos, until=feed.since)
                pos = found[-1].pos if found else feed.since
                found, shown = _unseen(hub, found, shown, pos)
                if found:
                    yield found
            found = [entry for entry in taken if entry.pos > pos]
            pos = found[-1].pos if found else pos
            found, shown = _unseen(hub, found, shown, pos)
            if found:
                yield found


def _unseen(
    hub: Hub, found: list[ActivityEntry], shown: Snapshot | None, pos: int
) -> tuple[list[ActivityEntry], Snapshot | None]:
    """`found` without what `shown` showed; and `shown` for as long as rows behind `pos` may be of it."""
    if shown is None:
        return found, None
    unseen = [entry.behind(shown) for entry in found if not shown.shows(entry.txid)]
    done = pos >= hub.pos and hub.numbered is not None and shown.is_covered_by(hub.numbered)
    return unseen, None if done else shown
