"""One reader of the activity log a process: it reads each row once, for all streams that are open in it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.realtime.bus import Bus
from hogsend.realtime.cursor import Snapshot, StreamCursor
from hogsend.realtime.entries import ActivityEntry, ActivityFilter, read_news
from hogsend.realtime.order import Head, number_new, read_head
from hogsend.realtime.start import begin, start_at
from hogsend.runtime import Runtime

log = structlog.get_logger(__name__)

AT_ONCE = 1_000
LONGEST_QUEUE = 2_000
RETRY = 1.0


class Feed:
    """What the hub hands one stream: the rows behind position `since` that it is about.

    It holds a bounded number of rows. A stream that falls further behind is sent back to Postgres: `since` moves on.
    """

    def __init__(self, hub: Hub, selection: ActivityFilter) -> None:
        self.selection = selection
        self.since = hub.pos
        self._hub = hub
        self._rows: deque[ActivityEntry] = deque()
        self._ready = asyncio.Event()

    def put(self, entry: ActivityEntry, until: int) -> None:
        """Hand on `entry`; `until` is the position that the hub has read to."""
        if len(self._rows) >= LONGEST_QUEUE:
            self._rows.clear()
            self.since = until
        elif entry.pos > self.since:
            self._rows.append(entry)
        self._ready.set()

    async def take(self) -> list[ActivityEntry]:
        """All that is there, waiting for something; empty where the stream must read up to `since` itself."""
        await self._ready.wait()
        self._ready.clear()
        taken = list(self._rows)
        self._rows.clear()
        return taken


class Hub:
    """Reads for as long as a stream is open here. `pos` is how far, `numbered` what had a position then."""

    def __init__(self, runtime: Runtime) -> None:
        self.pos = 0
        self.numbered: Snapshot | None = None
        self.bus = Bus(runtime.redis, self.wake)
        self._database = runtime.database
        self._feeds: set[Feed] = set()
        self._by_contact: dict[UUID, set[Feed]] = {}
        self._others: set[Feed] = set()
        self._woken = asyncio.Event()
        self._moving = asyncio.Lock()
        self._one_head = asyncio.Lock()
        self._next_head: asyncio.Future[Head] | None = None

    async def begin(self, after: StreamCursor | None) -> StreamCursor:
        """As `start.begin`; all who ask at once share one look at the log. Now is a moment after the call."""
        start = start_at(await self._head(), after)
        if after is None or start.snapshot is None:
            return start
        async with self.reading() as conn:
            return await begin(conn, start)

    async def _head(self) -> Head:
        """What a statement saw that began after the call."""
        if self._next_head is None:
            self._next_head = asyncio.ensure_future(self._read_head())
        return await asyncio.shield(self._next_head)

    async def _read_head(self) -> Head:
        async with self._one_head:
            self._next_head = None
            async with self.reading() as conn:
                return await read_head(conn)

    def wake(self) -> None:
        """Rows may have been numbered: look."""
        self._woken.set()

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection of the streams' share; each statement is its own transaction."""
        return self._database.each_alone(self._database.streams)

    @asynccontextmanager
    async def listen(self, selection: ActivityFilter) -> AsyncIterator[Feed]:
        """Be handed what is numbered from now on. Raises what Postgres does where it is away."""
        async with self._moving:
            if not self._feeds:
                async with self.reading() as conn:
                    found = await read_head(conn)
                self.pos, self.numbered = found.pos, found.numbered
            feed = Feed(self, selection)
            self._feeds.add(feed)
        mine = self._others
        if selection.contact_id is not None:
            mine = self._by_contact.setdefault(selection.contact_id, set())
        mine.add(feed)
        self._woken.set()
        try:
            yield feed
        finally:
            self._feeds.discard(feed)
            mine.discard(feed)
            if selection.contact_id is not None and not mine:
                self._by_contact.pop(selection.contact_id, None)

    async def run(self) -> None:
        """Read on whenever woken, and now and then without, for as long as the process lives."""
        while True:
            try:
                async with asyncio.timeout(self.bus.poll_seconds):
                    await self._woken.wait()
                polled = False
            except TimeoutError:
                polled = True
            self._woken.clear()
            if not self._feeds:
                continue
            try:
                await self._read(number=polled)
            except Exception as error:
                # Whatever it was: every stream of the process depends on this reader.
                log.warning("realtime_reader_retries", error=type(error).__name__)
                await asyncio.sleep(RETRY)
                self._woken.set()

    async def _read(self, *, number: bool) -> None:
        """Hand on what was numbered behind `pos`.

        After a silence, number first: the tailer may be stopped, dead and not yet replaced, or frozen.
        """
        async with self._moving, self.reading() as conn:
            if number:
                await number_new(conn)
            while True:
                rows, numbered = await read_news(conn, self.pos, AT_ONCE)
                if not rows:
                    return
                self.pos = rows[-1].pos
                self.numbered = numbered or self.numbered
                self._hand_on(rows)
                if numbered is not None:
                    return

    def _hand_on(self, rows: Iterable[ActivityEntry]) -> None:
        for entry in rows:
            for feed in self._others:
                if feed.selection.takes(entry):
                    feed.put(entry, self.pos)
            mine = self._by_contact.get(entry.contact_id) if entry.contact_id is not None else None
            for feed in mine or ():
                if feed.selection.takes(entry):
                    feed.put(entry, self.pos)
