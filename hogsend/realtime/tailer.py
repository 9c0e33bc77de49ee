"""Tail the activity log in one process of all, and tell the others through Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

import structlog
from redis.exceptions import RedisError
from sqlalchemy import text

from hogsend.realtime.bus import SOON, Bus
from hogsend.realtime.cursor import StreamCursor
from hogsend.realtime.streams import ActivityFilter, head, read_after
from hogsend.storage.database import Database
from hogsend.telemetry.counters import STREAM_LAG

log = structlog.get_logger(__name__)

LEADER_LOCK = 7_310_455
RETRY = 3.0
EVERYTHING = ActivityFilter()


class Tailer:
    """Every process runs one; the one that holds the lock publishes, the others stand by."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus
        self._hint = asyncio.Event()
        self._heard_at: float | None = None

    def _heard(self) -> None:
        self._hint.set()
        self._heard_at = self._heard_at or time.perf_counter()

    async def run(self) -> None:
        """Lead whenever nobody else does, for as long as the process lives."""
        while True:
            try:
                await self._lead()
            except Exception:
                # Whatever it was: without a tailer, streams of all processes would fall back to polling for good.
                log.warning("realtime_tailer_restarts", exc_info=True)
            await asyncio.sleep(RETRY)

    async def _lead(self) -> None:
        async with self._database.engine.connect() as conn:
            locked = await conn.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LEADER_LOCK})
            won = locked.scalar_one()
            await conn.commit()
            if not won:
                return
            raw = (await conn.get_raw_connection()).driver_connection
            if raw is None:
                return
            try:
                await raw.add_listener("hogsend_activity", lambda *_: self._heard())
                cursor = await head(conn)
                await conn.commit()
                # What came while nobody led was not told to anyone.
                await self._tell(())
                while True:
                    cursor = await self._publish_from(cursor)
            finally:
                # The lock and the listener end with the session; do not give it back to the pool.
                await conn.invalidate()

    async def _publish_from(self, cursor: StreamCursor) -> StreamCursor:
        """Publish what is behind `cursor`; wait for a hint where there is nothing."""
        self._hint.clear()
        async with self._database.read() as reading:
            entries = await read_after(reading, EVERYTHING, cursor)
        if entries:
            changes = {(e.kind, str(e.contact_id) if e.contact_id else None, e.journey_id) for e in entries}
            await self._tell(changes)
            if self._heard_at is not None:
                STREAM_LAG.observe(time.perf_counter() - self._heard_at)
                self._heard_at = None
            return entries[-1].cursor
        try:
            await asyncio.wait_for(self._hint.wait(), 1.0)
        except TimeoutError:
            return cursor
        await asyncio.sleep(SOON)
        return cursor

    async def _tell(self, changes: Collection[tuple[str, str | None, str | None]]) -> None:
        try:
            await self._bus.publish(changes)
        except (RedisError, OSError):
            log.debug("realtime_hint_lost", changes=len(changes))
