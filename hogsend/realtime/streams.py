"""Follow the activity log: what came after a cursor, then each new row as it is numbered."""

from __future__ import annotations

from collections.abc import AsyncIterator

from hogsend.realtime.cursor import Snapshot, StreamCursor
from hogsend.realtime.entries import ActivityEntry, ActivityFilter, read_after
from hogsend.realtime.hub import Hub

__all__ = ["ActivityEntry", "ActivityFilter", "follow"]


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
