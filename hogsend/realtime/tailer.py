"""Number the activity log in one process of all, and tell the others through Redis."""

from __future__ import annotations

import asyncio
import time

import structlog
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.realtime.hub import Hub
from hogsend.realtime.order import number_new
from hogsend.storage.database import Database
from hogsend.telemetry.counters import STREAM_LAG

log = structlog.get_logger(__name__)

LEADER_LOCK = 7_310_455
RETRY = 3.0
LOOK_SECONDS = 1.0
# Rows that are committed within this time are numbered together.
PAUSE = 0.01


class Tailer:
    """Every process runs one; the one that holds the lock numbers, the others stand by.

    The lock spares work and is not what keeps the order: two rounds at once exclude each other.
    """

    def __init__(self, database: Database, hub: Hub) -> None:
        self._database = database
        self._hub = hub
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
        async with self._database.each_alone(self._database.streams) as conn:
            locked = await conn.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LEADER_LOCK})
            if not locked.scalar_one():
                return
            raw = (await conn.get_raw_connection()).driver_connection
            if raw is None:
                return
            try:
                await raw.add_listener("hogsend_activity", lambda *_: self._heard())
                while True:
                    await self._number(conn)
            finally:
                # The lock and the listener end with the session; do not give it back to the pool.
                await conn.invalidate()

    async def _number(self, conn: AsyncConnection) -> None:
        """Number what is there and tell of it; wait for a hint where there is nothing."""
        self._hint.clear()
        if await number_new(conn) is not None:
            await self._tell()
            if self._heard_at is not None:
                STREAM_LAG.observe(time.perf_counter() - self._heard_at)
                self._heard_at = None
            await asyncio.sleep(PAUSE)
            return
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._hint.wait()
        except TimeoutError:
            return

    async def _tell(self) -> None:
        self._hub.wake()
        try:
            await self._hub.bus.publish()
        except (RedisError, OSError):
            log.debug("realtime_hint_lost")
