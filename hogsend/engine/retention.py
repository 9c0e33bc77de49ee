"""Retention of the engine's tables: delivered outbox rows and finished jobs are deleted."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete

from hogsend.runtime import Runtime
from hogsend.tables.engine import jobs, outbox

OUTBOX_KEPT = timedelta(days=1)
JOBS_KEPT = timedelta(days=7)


async def forget_finished(runtime: Runtime) -> None:
    """Dead jobs stay: their dead letters refer to them."""
    wall = runtime.clock.wall()
    async with runtime.database.transaction() as conn:
        await conn.execute(delete(outbox).where(outbox.c.published_at < wall - OUTBOX_KEPT))
        await conn.execute(delete(jobs).where(jobs.c.status == "done", jobs.c.finished_at < wall - JOBS_KEPT))
