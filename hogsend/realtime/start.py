"""Where a stream begins: at a cursor that can still be gone on from, or exactly now."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.errors import InvalidInput
from hogsend.realtime.cursor import StreamCursor
from hogsend.realtime.order import Head, is_numbered, read_head


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
