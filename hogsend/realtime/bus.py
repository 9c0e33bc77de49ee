"""Wake-ups of streams over Redis pub/sub. They carry no data: a lost one costs latency, never a row."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import orjson
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

CHANNEL = "hogsend:activity"
POLL_WITH_REDIS = 5.0
POLL_WITHOUT = 1.0
SOON = 0.02
LOOKS = 6


@dataclass(frozen=True)
class Interest:
    """What somebody wants to be woken for. None means anything."""

    kinds: frozenset[str] | None = None
    contact_id: str | None = None
    journey_id: str | None = None

    def matches(self, kind: str, contact_id: str | None, journey_id: str | None) -> bool:
        return (
            (self.kinds is None or kind in self.kinds)
            and (self.contact_id is None or self.contact_id == contact_id)
            and (self.journey_id is None or self.journey_id == journey_id)
        )


class Wakeups:
    """One listener's hints. After a hint it looks a few times in quick succession, then falls back to polling.

    It begins as after a hint: what was hinted at just before may still be held back by an older transaction.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._event = asyncio.Event()
        self._looks = LOOKS

    def hint(self) -> None:
        self._looks = LOOKS
        self._event.set()

    def progressed(self) -> None:
        """The last look found rows, so look again at once."""
        self._looks = max(self._looks, 1)

    async def wait(self) -> None:
        """Until it is worth looking again.

        A row may be committed and still held back by an older transaction: hence the looks after a hint.
        """
        if self._event.is_set():
            self._event.clear()
            return
        if self._looks > 0:
            self._looks -= 1
            timeout = SOON * 2 ** (LOOKS - self._looks)
        else:
            timeout = POLL_WITH_REDIS if self._bus.connected else POLL_WITHOUT
        try:
            await asyncio.wait_for(self._event.wait(), timeout)
        except TimeoutError:
            return
        self._event.clear()


class Bus:
    """One Redis subscription a process, shared by all its listeners."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._listeners: dict[Wakeups, Interest] = {}
        self.connected = False

    @contextmanager
    def listen(self, interest: Interest) -> Iterator[Wakeups]:
        wakeups = Wakeups(self)
        self._listeners[wakeups] = interest
        try:
            yield wakeups
        finally:
            del self._listeners[wakeups]

    async def run(self) -> None:
        """Receive for as long as the process lives; where Redis is away, listeners poll and this tries again."""
        while True:
            try:
                await self._receive()
            except (RedisError, OSError):
                if self.connected:
                    log.warning("realtime_without_redis", fallback="polling")
                self.connected = False
                self._wake_all()
                await asyncio.sleep(POLL_WITHOUT)

    async def publish(self, changes: Collection[tuple[str, str | None, str | None]]) -> None:
        """Say that rows of these (kind, contact, journey) were committed; of none: that nobody knows which.

        Raises `RedisError` where it cannot.
        """
        await self._redis.publish(CHANNEL, orjson.dumps(list(changes)))

    async def _receive(self) -> None:
        async with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.subscribe(CHANNEL)
            self.connected = True
            self._wake_all()
            while True:
                message = await pubsub.get_message(timeout=5.0)
                if message is None:
                    await pubsub.ping()
                elif message["type"] == "message":
                    self._dispatch(orjson.loads(message["data"]))

    def _dispatch(self, changes: list[list[str | None]]) -> None:
        if not changes:
            self._wake_all()
        for wakeups, interest in self._listeners.items():
            if any(interest.matches(str(kind), contact, journey) for kind, contact, journey in changes):
                wakeups.hint()

    def _wake_all(self) -> None:
        for wakeups in self._listeners:
            wakeups.hint()
