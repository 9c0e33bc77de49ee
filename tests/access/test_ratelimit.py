"""The window slides, is shared, and goes on in memory while Redis is away."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from hogsend.access.caller import THE_ADMIN_KEY, Caller, Scope
from hogsend.access.errors import RateLimited
from hogsend.access.rate_limits import Plane, RateLimiter, SharedWindows
from hogsend.boot import open_runtime
from hogsend.clock import ManualClock
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from hogsend.storage.metadata import new_id


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"rate_limit": 5, "ingest_rate_limit": 7})


async def count(runtime: Runtime, times: int, caller: Caller = THE_ADMIN_KEY) -> int:
    """How many of `times` requests are let through."""
    passed = 0
    for _ in range(times):
        try:
            await runtime.part(RateLimiter).count(caller)
        except RateLimited:
            continue
        passed += 1
    return passed


async def test_the_window_fills_refuses_and_says_when_to_come_back(
    runtime: Runtime, clock: ManualClock
) -> None:
    limiter = runtime.part(RateLimiter)
    first = clock.wall()
    for left in (4, 3, 2, 1, 0):
        rate = await limiter.count(THE_ADMIN_KEY)
        assert rate.headers == {"X-RateLimit-Limit": "5", "X-RateLimit-Remaining": str(left)}
        assert rate.reset_at == first + timedelta(seconds=60)
        clock.advance(timedelta(seconds=2))
    with pytest.raises(RateLimited) as refused:
        await limiter.count(THE_ADMIN_KEY)
    assert (refused.value.status, refused.value.message) == (429, "Rate limit exceeded")
    assert refused.value.headers["Retry-After"] == "50"
    assert refused.value.headers["X-RateLimit-Remaining"] == "0"
    clock.advance(timedelta(seconds=50))
    assert await count(runtime, 3) == 1, "one request has left the window, so one more fits"
    clock.advance(timedelta(seconds=2))
    assert await count(runtime, 3) == 1


async def test_no_minute_holds_more_than_the_limit_however_it_is_cut(
    runtime: Runtime, clock: ManualClock
) -> None:
    passed: list[float] = []
    for _ in range(60):
        if await count(runtime, 1):
            passed.append(clock.wall().timestamp())
        clock.advance(timedelta(seconds=3.7))
    for start in passed:
        assert sum(start <= at < start + 60 for at in passed) <= 5


async def test_keys_and_planes_count_for_themselves(runtime: Runtime) -> None:
    other = Caller("other", frozenset({Scope.READ}), new_id())
    assert await count(runtime, 9) == 5
    assert await count(runtime, 9, other) == 5
    rate = await runtime.part(RateLimiter).count(THE_ADMIN_KEY, Plane.DATA)
    assert (rate.limit, rate.remaining) == (7, 6)


async def test_processes_share_one_window(settings: Settings, clock: ManualClock, runtime: Runtime) -> None:
    async with open_runtime(settings, clock=clock) as other:
        both = await asyncio.gather(count(runtime, 5), count(other, 5))
    assert sum(both) == 5


async def test_a_process_whose_clock_is_a_day_ahead_locks_nobody_out(
    settings: Settings, clock: ManualClock, runtime: Runtime
) -> None:
    async with open_runtime(settings, clock=ManualClock(clock.wall() + timedelta(days=1))) as ahead:
        assert await count(ahead, 5) == 5
    assert await count(runtime, 9) == 5


async def test_counting_goes_on_in_memory_while_redis_is_down_and_comes_back(
    runtime: Runtime, clock: ManualClock, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await count(runtime, 3) == 3
    shared = runtime.part(SharedWindows)
    down = Redis.from_url("redis://127.0.0.1:1/0")
    with monkeypatch.context() as patch:
        patch.setattr(shared, "_slide", down.register_script("return 1"))
        assert await count(runtime, 9) == 2, "what was counted before Redis went away still counts"
        clock.advance(timedelta(seconds=60))
        assert await count(runtime, 9) == 5
    clock.advance(timedelta(seconds=60))
    assert await count(runtime, 2) == 2
    async with Redis.from_url(redis_url) as redis:
        assert await redis.zcard("hogsend:rate:admin:legacy") == 2
    await down.aclose()
