"""Follow the activity log: what came after a cursor, then each new row as it is numbered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.errors import InvalidInput
from hogsend.realtime.cursor import Snapshot, StreamCursor
from hogsend.realtime.entries import ActivityEntry, ActivityFilter, read_after
from hogsend.realtime.order import Head, is_numbered, read_head

if TYPE_CHECKING:
    from hogsend.realtime.hub import Hub

__all__ = ["ActivityEntry", "ActivityFilter", "begin", "follow", "head", "read_after"]


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
    start = start_at(await read_head(conn), after)
    if start.snapshot is None or not await is_numbered(conn, start.snapshot):
        return start
    found = await read_head(conn)
    # Between the cursor's position and the head there may still be rows that it showed.
    return StreamCursor(start.pos) if start.pos == found.pos else start


def start_at(found: Head, after: StreamCursor | None) -> StreamCursor:
    """The same by what is known of the head alone: the snapshot may stay where it need not. Raises as `begin`."""
    if after is None:
        after = StreamCursor(found.pos, str(found.now))
    else:
        _check(after, found)
    if after.snapshot is None or not after.snapshot.is_covered_by(found.numbered):
        return after
    return StreamCursor(after.pos) if after.pos == found.pos else after


def _check(after: StreamCursor, found: Head) -> None:
    if after.pos < found.forgotten:
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
) -> AsyncIterator[tuple[list[ActivityEntry], StreamCursor]]:
    """Batches of rows behind `after`, each with the cursor that the stream has come to, without end.

    What lies before the hub's position is read from Postgres, and the rest comes from the hub, which reads it once
    for everybody; an empty batch says that the stream has caught up with it. Holds no connection while it waits.
    """
    pos, shown = after.pos, after.snapshot
    async with hub.listen(selection) as feed:
        taken: list[ActivityEntry] = []
        while True:
            while pos < feed.since:
                async with hub.reading() as conn:
                    found = await read_after(conn, selection, pos, until=feed.since)
                pos = found[-1].pos if found else feed.since
                found, shown = _unseen(hub, found, shown, pos)
                if found:
                    yield found, found[-1].cursor
            found = [entry for entry in taken if entry.pos > pos]
            pos = found[-1].pos if found else pos
            found, shown = _unseen(hub, found, shown, pos)
            yield found, StreamCursor(pos, None if shown is None else str(shown))
            taken = await feed.take()


def _unseen(
    hub: Hub, found: list[ActivityEntry], shown: Snapshot | None, pos: int
) -> tuple[list[ActivityEntry], Snapshot | None]:
    """`found` without what `shown` showed; and `shown` for as long as rows behind `pos` may be of it."""
    if shown is None:
        return found, None
    unseen = [entry.behind(shown) for entry in found if not shown.shows(entry.txid)]
    if pos < hub.pos or hub.numbered is None or not shown.is_covered_by(hub.numbered):
        return unseen, shown
    if unseen and unseen[-1].pos == pos:
        unseen[-1] = found[-1]
    return unseen, None
