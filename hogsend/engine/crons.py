"""What runs on a schedule, on every engine: each cron in one process at a time, under an advisory lock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import select, text

from hogsend.runtime import Runtime
from hogsend.tables.engine import crons

log = structlog.get_logger(__name__)

LOCK_SPACE = 7_310
HEARTBEAT = "heartbeat"
ALIVE_WITHIN = timedelta(seconds=20)


@dataclass(frozen=True)
class Cron:
    """`every` is real time. `run` must bear being called twice, or late."""

    name: str
    every: timedelta
    run: Callable[[Runtime], Awaitable[None]]


_CLAIM = text("""
INSERT INTO crons (name, last_run_at) VALUES (:name, :wall)
ON CONFLICT (name) DO UPDATE SET last_run_at = :wall
    WHERE crons.last_run_at IS NULL OR crons.last_run_at <= :before OR crons.last_run_at > :after
RETURNING name
""")


async def run_cron(runtime: Runtime, cron: Cron) -> bool:
    """Run it where it is due and nobody else does. An error is logged and kept in `crons.last_error`.

    One that ran in the future, by a machine whose clock was ahead, is due: else nobody would release the leases of
    the dead until then.
    """
    wall = runtime.clock.wall()
    async with runtime.database.engine.connect() as conn:
        locked = await conn.execute(
            text("SELECT pg_try_advisory_lock(:space, hashtext(:name))"),
            {"space": LOCK_SPACE, "name": cron.name},
        )
        if not locked.scalar_one():
            return False
        try:
            claimed = await conn.execute(
                _CLAIM,
                {
                    "name": cron.name,
                    "wall": wall,
                    "before": wall - cron.every * 0.9,
                    "after": wall + cron.every,
                },
            )
            due = claimed.first() is not None
            await conn.commit()
            if due:
                await _run(runtime, cron)
            return due
        finally:
            await conn.rollback()
            await conn.execute(
                text("SELECT pg_advisory_unlock(:space, hashtext(:name))"),
                {"space": LOCK_SPACE, "name": cron.name},
            )
            await conn.commit()


async def worker_lives(runtime: Runtime) -> bool:
    """Whether some worker's heartbeat ran within the last seconds."""
    async with runtime.database.read() as conn:
        seen = (
            await conn.execute(select(crons.c.last_run_at).where(crons.c.name == HEARTBEAT))
        ).scalar_one_or_none()
    return seen is not None and runtime.clock.wall() - seen < ALIVE_WITHIN


async def _run(runtime: Runtime, cron: Cron) -> None:
    error: str | None = None
    try:
        await cron.run(runtime)
    except Exception as failure:
        log.exception("cron_failed", cron=cron.name)
        error = f"{type(failure).__name__}: {failure}"
    async with runtime.database.transaction() as conn:
        await conn.execute(
            text("UPDATE crons SET last_error = :error WHERE name = :name"),
            {"error": error, "name": cron.name},
        )
