"""Rate limits of keys: a sliding window of one minute, shared by all processes."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import count
from typing import TypeAlias
from uuid import uuid4

import structlog
from redis.exceptions import RedisError

from hogsend.access.caller import Caller
from hogsend.access.errors import RateLimited
from hogsend.runtime import Runtime
from hogsend.telemetry.counters import RATE_LIMITED

log = structlog.get_logger(__name__)

WINDOW = 60.0
REDIS_SECONDS = 0.5
REDIS_AGAIN_AFTER = timedelta(seconds=1)
MOST_KEYS = 10_000


Window: TypeAlias = tuple[bool, int, float]
"""Whether one more is, or was, allowed; how many the window holds; the oldest one's time."""


class Plane(StrEnum):
    """Each plane counts for itself: what products send in does not use up what an operator may ask."""

    ADMIN = "admin"
    DATA = "data"


@dataclass(frozen=True)
class Rate:
    """One caller's window after a request was counted. `reset_at` is when the oldest request leaves it."""

    limit: int
    remaining: int
    reset_at: datetime

    @property
    def headers(self) -> dict[str, str]:
        return {"X-RateLimit-Limit": str(self.limit), "X-RateLimit-Remaining": str(self.remaining)}


# Counts all that it is given, or none. Answers {allowed, requests in the window, the oldest one's time}. Instants
# further ahead than the window are dropped: they come from a process whose clock is wrong, and would lock the key out
# until then.
_SLIDE = """
local key, now, window, limit = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local more = tonumber(ARGV[5])
redis.call('ZREMRANGEBYSCORE', key, '-inf', now - window)
redis.call('ZREMRANGEBYSCORE', key, '(' .. (now + window), '+inf')
local used = redis.call('ZCARD', key)
local allowed = 0
if used + more <= limit then
    for number = 1, more do
        redis.call('ZADD', key, now, ARGV[4] .. ':' .. number)
    end
    redis.call('PEXPIRE', key, math.ceil(window * 1000))
    used = used + more
    allowed = 1
end
local oldest = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
return {allowed, used, oldest[2] or tostring(now)}
"""


class SharedWindows:
    """Windows that all processes share, in Redis. None is answered while Redis is down: it is asked once a second."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._slide = runtime.redis.register_script(_SLIDE)
        self._again_at: datetime | None = None
        self._process = uuid4().hex[:12]
        self._numbers = count()

    async def count(self, key: str, now: datetime, limit: int, more: int = 1) -> Window | None:
        """Count `more` requests at `now`, where the window has room for all of them."""

        async def slide() -> Window:
            allowed, used, oldest = await self._slide(
                keys=[_name(key)],
                args=[repr(now.timestamp()), WINDOW, limit, f"{self._process}:{next(self._numbers)}", more],
            )
            return bool(allowed), int(used), float(oldest)

        return await self._asked(now, slide)

    async def look(self, key: str, now: datetime, limit: int) -> Window | None:
        """Whether there is room for one more at `now`; nothing is counted."""
        at = now.timestamp()

        async def read() -> Window:
            held = await self._runtime.redis.zrangebyscore(
                _name(key), f"({at - WINDOW!r}", repr(at + WINDOW), withscores=True
            )
            return len(held) < limit, len(held), float(held[0][1]) if held else at

        return await self._asked(now, read)

    async def close(self) -> None:
        """Nothing is held open."""

    async def _asked(self, now: datetime, ask: Callable[[], Awaitable[Window]]) -> Window | None:
        if self._again_at is not None and now < self._again_at:
            return None
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                answer = await ask()
        except (RedisError, OSError, TimeoutError) as error:
            if self._again_at is None:
                log.warning("rate_limits_in_memory", error=type(error).__name__)
            self._again_at = now + REDIS_AGAIN_AFTER
            return None
        if self._again_at is not None:
            self._again_at = None
            log.info("rate_limits_in_redis_again")
        return answer


def _name(key: str) -> str:
    return f"hogsend:rate:{key}"


class RateLimiter:
    """Counts in Redis; in this process's memory while Redis does not answer. Time is real time."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._local = LocalWindows()

    async def count(self, caller: Caller, plane: Plane = Plane.ADMIN, more: int = 1) -> Rate:
        """Count a request of `caller`, or as many as one is worth: all of them or none.

        Raises `RateLimited` where the window has no room.
        """
        settings = self._runtime.settings
        limit = settings.rate_limit if plane is Plane.ADMIN else settings.ingest_rate_limit
        key = f"{plane}:{caller.rate_key}"
        now = self._runtime.clock.wall()
        # Counted here too, so that the window is not empty at the moment Redis goes away.
        local = self._local.count(key, now.timestamp(), limit, more)
        allowed, used, oldest = await self._runtime.part(SharedWindows).count(key, now, limit, more) or local
        if not allowed:
            RATE_LIMITED.labels(plane.value).inc()
            raise RateLimited(limit, seconds_left(oldest, now))
        return Rate(limit, max(0, limit - used), datetime.fromtimestamp(oldest + WINDOW, UTC))

    async def close(self) -> None:
        """Nothing is held open."""


def seconds_left(oldest: float, now: datetime) -> int:
    """When the oldest request leaves the window, in whole seconds from `now`; at least one."""
    return max(1, math.ceil(oldest + WINDOW - now.timestamp()))


class LocalWindows:
    """The same window in memory, for the keys that called last; bounded."""

    def __init__(self) -> None:
        self._windows: OrderedDict[str, deque[float]] = OrderedDict()

    def look(self, key: str, now: float, limit: int) -> Window:
        """Whether there is room for one more at `now`; nothing is counted."""
        window = self._windows.get(key, deque())
        _slide(window, now)
        return len(window) < limit, len(window), window[0] if window else now

    def count(self, key: str, now: float, limit: int, more: int = 1) -> Window:
        """Count `more` requests at `now`, where the window has room for all of them."""
        window = self._windows.setdefault(key, deque())
        self._windows.move_to_end(key)
        if len(self._windows) > MOST_KEYS:
            self._windows.popitem(last=False)
        _slide(window, now)
        allowed = len(window) + more <= limit
        if allowed:
            window.extend([now] * more)
        return allowed, len(window), window[0] if window else now


def _slide(window: deque[float], now: float) -> None:
    while window and not now - WINDOW < window[0] <= now + WINDOW:
        window.popleft()
