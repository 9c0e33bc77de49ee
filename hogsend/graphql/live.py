"""Streams over the activity log: gap-free by cursor, and ended with a cursor to go on from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

import structlog
from graphql import GraphQLError

from hogsend.graphql.context import Context
from hogsend.graphql.errors import Code, problem
from hogsend.graphql.fields import described
from hogsend.realtime.cursor import StreamCursor
from hogsend.realtime.live import Live
from hogsend.realtime.streams import ActivityEntry, ActivityFilter, follow
from hogsend.storage.unreachable import unreachable

log = structlog.get_logger(__name__)

RETRY_SECONDS = 1.0

After = Annotated[
    str | None,
    described("Cursor of an earlier message: resume exactly behind it. By default, from now on."),
]


async def entries(
    context: Context, wanted: ActivityFilter, after: str | None
) -> AsyncIterator[ActivityEntry]:
    """Rows behind `after` (from now on unless told), then each new one as it is committed.

    While Postgres is away the stream waits and goes on where it was. Raises GOING_AWAY with the cursor when the process
    stops, `InvalidInput` for a cursor that is bad, or that nobody can go on from.

    What a message shows must follow from the entry, the arguments and the caller's scopes alone: one execution serves
    all who asked alike.
    """
    live = context.runtime.part(Live)
    cursor = context.resume or await live.hub.begin(None if after is None else StreamCursor.decode(after))
    context.position = cursor
    context.begun.set()
    while not live.draining.is_set():
        try:
            async for batch, come_to in _until_draining(live, wanted, cursor):
                for entry in batch:
                    context.entry, context.position = entry, entry.cursor
                    context.forget()
                    yield entry
                context.position = context.settled = come_to
                context.caught_up.set()
        except Exception as error:
            if not unreachable(error):
                raise
            cursor = context.position
            log.warning("stream_interrupted", request_id=context.request_id, error=type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)
    raise going_away(context.position)


def going_away(cursor: StreamCursor | None) -> GraphQLError:
    """How a stream ends when the process stops; with its cursor, where it has one."""
    at = {} if cursor is None else {"cursor": cursor.encode()}
    return problem("The server is going away; go on from the cursor", Code.GOING_AWAY, **at)


async def _until_draining(
    live: Live, wanted: ActivityFilter, after: StreamCursor
) -> AsyncIterator[tuple[list[ActivityEntry], StreamCursor]]:
    batches = follow(live.hub, wanted, after)
    draining = asyncio.ensure_future(live.draining.wait())
    try:
        while not draining.done():
            batch = asyncio.ensure_future(anext(batches))
            try:
                await asyncio.wait({batch, draining}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not batch.done():
                    batch.cancel()
                    await asyncio.gather(batch, return_exceptions=True)
            if not batch.cancelled():
                yield batch.result()
    finally:
        draining.cancel()
        await batches.aclose()  # type: ignore[attr-defined]
