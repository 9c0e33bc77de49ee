"""Crons, on every engine: each runs in one process at a time, under an advisory lock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import DateTime, Text, bindparam, select, text

from hogsend.runtime import Runtime
from hogsend.tables.engine import crons
from hogsend.telemetry.counters import CRON_RUNS

log = structlog.get_logger(__name__)

LOCK_SPACE = 7_310
HEARTBEAT = "heartbeat"
ALIVE_WITHIN = timedelta(seconds=20)
# As a part of `every`: a tick that comes a little early is not put off to the next one.
EARLY = 0.9
# While another process runs it for longer than its `every`.
LOOK_AGAIN = timedelta(milliseconds=500)


@dataclass(frozen=True)
class Cron:
    """A scheduled task. `every` is real time. `run` must bear being called twice, or late.

    One that is due every few seconds and mostly finds nothing says with `wanted`, for one read, whether it would. After
    a no it is asked again when the outbox was written to, and after `rest`: `every`, where none is given.
    """

    name: str
    every: timedelta
    run: Callable[[Runtime], Awaitable[None]]
    wanted: Callable[[Runtime], Awaitable[bool]] | None = None
    rest: timedelta | None = None


# Take the lock and claim this turn, in one round trip.
_CLAIM = text("""
WITH lock AS MATERIALIZED (
    SELECT pg_try_advisory_lock(:space, hashtext(:name)) AS held
), claim AS (
    INSERT INTO crons (name, last_run_at) SELECT :name, :wall FROM lock WHERE held
    ON CONFLICT (name) DO UPDATE SET last_run_at = excluded.last_run_at
        WHERE crons.last_run_at IS NULL OR crons.last_run_at <= :before OR crons.last_run_at > :after
    RETURNING last_error
)
SELECT lock.held, EXISTS (SELECT FROM claim) AS due, (SELECT last_error FROM claim) AS last_error FROM lock
""").bindparams(bindparam("name", type_=Text), bindparam("wall", type_=DateTime(timezone=True)))
_UNLOCK = text("SELECT pg_advisory_unlock(:space, hashtext(:name))")


async def run_cron(runtime: Runtime, cron: Cron) -> bool:
    """Run it where it is due and nobody else does. An error is logged and kept in `crons.last_error`.

    One that ran in the future, by a machine whose clock was ahead, is due: else nobody would release the leases of
    the dead until then.
    """
    wall = runtime.clock.wall()
    async with runtime.database.each_alone() as conn:
        claimed = await conn.execute(
            _CLAIM,
            {
                "space": LOCK_SPACE,
                "name": cron.name,
                "wall": wall,
                "before": wall - cron.every * EARLY,
                "after": wall + cron.every,
            },
        )
        claim = claimed.one()
        if not claim.held:
            return False
        try:
            if claim.due:
                await _run(runtime, cron, claim.last_error)
            return bool(claim.due)
        finally:
            await conn.execute(_UNLOCK, {"space": LOCK_SPACE, "name": cron.name})


async def until_due(runtime: Runtime, cron: Cron) -> timedelta:
    """Real time until `run_cron` would run what somebody else ran, or runs now; at most its `every`."""
    async with runtime.database.each_alone() as conn:
        ran: datetime | None = (
            await conn.execute(select(crons.c.last_run_at).where(crons.c.name == cron.name))
        ).scalar_one_or_none()
    wall = runtime.clock.wall()
    ahead = (ran or wall) + cron.every * EARLY - wall
    return min(max(ahead, LOOK_AGAIN), cron.every)


async def worker_lives(runtime: Runtime) -> bool:
    """Whether some worker's heartbeat ran within the last seconds."""
    async with runtime.database.read() as conn:
        seen = (
            await conn.execute(select(crons.c.last_run_at).where(crons.c.name == HEARTBEAT))
        ).scalar_one_or_none()
    return seen is not None and runtime.clock.wall() - seen < ALIVE_WITHIN


async def _run(runtime: Runtime, cron: Cron, last_error: str | None) -> None:
    error: str | None = None
    try:
        await cron.run(runtime)
    except Exception as failure:
        log.exception("cron_failed", cron=cron.name)
        error = f"{type(failure).__name__}: {failure}"
    CRON_RUNS.labels(cron.name, "failed" if error else "done").inc()
    if error == last_error:
        return
    async with runtime.database.transaction() as conn:
        await conn.execute(
            text("UPDATE crons SET last_error = :error WHERE name = :name"),
            {"error": error, "name": cron.name},
        )
