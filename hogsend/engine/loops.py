"""The loops that every worker runs, whatever its engine: listen, publish the outbox, run crons."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Never

import structlog

from hogsend.engine.crons import Cron, run_cron
from hogsend.engine.liveness import sign_in
from hogsend.engine.publisher import Publisher
from hogsend.runtime import Runtime

log = structlog.get_logger(__name__)

POLL = 1.0
_KEEPALIVE = 15.0

Loop = Callable[[], Awaitable[None]]


async def forever(name: str, loop: Loop) -> Never:
    """Run a loop again when a dependency failed under it; its poll makes up for what it missed."""
    while True:
        try:
            await loop()
        except Exception:
            log.warning("worker_loop_restarts", loop=name, exc_info=True)
            await asyncio.sleep(POLL)


async def hint_or(event: asyncio.Event, seconds: float) -> None:
    """Wait for the hint, at most `seconds` of real time."""
    try:
        # Not `wait_for`: before Python 3.12 it loses a cancellation that comes together with the hint.
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


async def listen(runtime: Runtime, hints: Mapping[str, asyncio.Event]) -> None:
    """Turn NOTIFYs into hints, by channel, on one connection of its own, which also shows that this worker lives."""
    async with runtime.database.engine.connect() as conn:
        raw = (await conn.get_raw_connection()).driver_connection
        if raw is None:
            return
        await sign_in(conn, runtime.owner)
        for channel, hint in hints.items():
            await raw.add_listener(channel, lambda *_args, hint=hint: hint.set())
        try:
            while True:
                await asyncio.sleep(_KEEPALIVE)
                await raw.execute("SELECT 1")
        finally:
            await conn.invalidate()


async def publish(publisher: Publisher, hint: asyncio.Event) -> None:
    """Deliver the outbox: at the hint, and at each poll."""
    while True:
        hint.clear()
        while await publisher.publish_due():
            pass
        await hint_or(hint, POLL)


async def keep_time(runtime: Runtime, schedule: Sequence[Cron]) -> None:
    """Run each cron when it is due, in whichever process is first."""
    while True:
        for cron in schedule:
            await run_cron(runtime, cron)
        await asyncio.sleep(POLL)


async def drain(tasks: set[asyncio.Task[None]], within: timedelta) -> None:
    """Let tasks finish, at most so long (real time); then cancel those that are left."""
    if tasks:
        await asyncio.wait(tasks, timeout=within.total_seconds())
    for left in tasks:
        left.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
