"""Wake-ups of streams over Redis pub/sub. They carry no data: a lost one costs latency, never a row."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

CHANNEL = "hogsend:activity"
POLL_WITH_REDIS = 5.0
POLL_WITHOUT = 1.0


class Bus:
    """One Redis subscription a process; `woken` is called whenever rows may have been numbered."""

    def __init__(self, redis: Redis, woken: Callable[[], None]) -> None:
        self._redis = redis
        self._woken = woken
        self.connected = False

    @property
    def poll_seconds(self) -> float:
        """How long to wait for a wake-up before looking without one."""
        return POLL_WITH_REDIS if self.connected else POLL_WITHOUT

    async def run(self) -> None:
        """Receive for as long as the process lives; where Redis is away, the hub polls and this tries again."""
        while True:
            try:
                await self._receive()
            except (RedisError, OSError):
                if self.connected:
                    log.warning("realtime_without_redis", fallback="polling")
                self.connected = False
                self._woken()
                await asyncio.sleep(POLL_WITHOUT)

    async def publish(self) -> None:
        """Say to every process that rows were numbered. Raises `RedisError` where it cannot."""
        await self._redis.publish(CHANNEL, b"")

    async def _receive(self) -> None:
        async with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.subscribe(CHANNEL)
            self.connected = True
            self._woken()
            while True:
                message = await pubsub.get_message(timeout=5.0)
                if message is None:
                    await pubsub.ping()
                elif message["type"] == "message":
                    self._woken()
