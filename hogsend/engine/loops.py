"""The loops that every worker runs, whatever its engine: listen, publish the outbox, run crons."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Never

import structlog

from hogsend.engine.crons import Cron, run_cron, until_due
from hogsend.engine.liveness import sign_in
from hogsend.engine.publisher import Publisher
from hogsend.runtime import Runtime

log = structlog.get_logger(__name__)

# Seconds of real time. A hint that is lost costs the time until the next POLL, never more.
POLL = 10.0
RESTART = 1.0
LOOK = 1.0
_KEEPALIVE = 15.0
_SHORTEST = 0.01

Loop = Callable[[], Awaitable[None]]


async def forever(name: str, loop: Loop) -> Never:
    """Run a loop again when a dependency failed under it; its poll makes up for what it missed."""
    while True:
        try:
            await loop()
        except Exception:
            log.warning("worker_loop_restarts", loop=name, exc_info=True)
            await asyncio.sleep(RESTART)


async def hint_or(event: asyncio.Event, seconds: float) -> None:
    """Wait for the hint, at most `seconds` of real time."""
    try:
        # Not `wait_for`: before Python 3.12 it loses a cancellation that comes together with the hint.
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


async def hint_or_due(event: asyncio.Event, ahead: float | None) -> None:
    """Wait for the hint; at most until something is due in `ahead` seconds, if anything is, or the next poll."""
    await hint_or(event, POLL if ahead is None else max(_SHORTEST, min(POLL, ahead)))


async def listen(runtime: Runtime, hints: Mapping[str, Sequence[asyncio.Event]]) -> None:
    """Turn NOTIFYs into hints, by channel, on one connection of its own, which also shows that this worker lives.

    Raises when the connection is lost. Each time it begins, everything is hinted at: what was written while nobody
    listened was told to no one.
    """
    async with runtime.database.engine.connect() as conn:
        raw = (await conn.get_raw_connection()).driver_connection
        if raw is None:
            return
        lost = asyncio.Event()
        raw.add_termination_listener(lambda _connection: lost.set())
        await sign_in(conn, runtime.owner)
        for channel, events in hints.items():
            await raw.add_listener(channel, partial(_hint, events))
            _hint(events)
        try:
            while not lost.is_set():
                await hint_or(lost, _KEEPALIVE)
                await raw.execute("SELECT 1")
        finally:
            await conn.invalidate()


def _hint(events: Sequence[asyncio.Event], *_notification: object) -> None:
    for event in events:
        event.set()


async def publish(publisher: Publisher, hint: asyncio.Event) -> None:
    """Deliver the outbox: at the hint, when a row that was pushed back is due, and at each poll."""
    while True:
        hint.clear()
        while await publisher.publish_due():
            pass
        await hint_or_due(hint, await publisher.seconds_to_next())


async def keep_time(runtime: Runtime, schedule: Sequence[Cron], hint: asyncio.Event) -> None:
    """Run each cron when it is due, in whichever process is first, and sleep until the next one is.

    The hint says that the outbox was written to. It never sleeps for longer than LOOK, as the clock may be set
    meanwhile; looking at it costs no statement.
    """
    due_at: dict[str, datetime] = {}
    resting: dict[str, datetime] = {}
    while True:
        wall = runtime.clock.wall()
        if hint.is_set():
            hint.clear()
            due_at |= resting
            resting.clear()
        for cron in schedule:
            longest = cron.rest or cron.every
            if wall < due_at.get(cron.name, wall) <= wall + longest:
                continue
            resting.pop(cron.name, None)
            if cron.wanted is not None and not await cron.wanted(runtime):
                due_at[cron.name] = wall + longest
                resting[cron.name] = wall + cron.every
            elif await run_cron(runtime, cron):
                due_at[cron.name] = wall + cron.every
            else:
                due_at[cron.name] = wall + await until_due(runtime, cron)
        ahead = (min(due_at.values(), default=wall) - runtime.clock.wall()).total_seconds()
        await hint_or(hint, max(_SHORTEST, min(LOOK, ahead)))


async def drain(tasks: set[asyncio.Task[None]], within: timedelta) -> None:
    """Let tasks finish, at most so long (real time); then cancel those that are left."""
    if tasks:
        await asyncio.wait(tasks, timeout=within.total_seconds())
    for left in tasks:
        left.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
