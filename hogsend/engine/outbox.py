"""The outbox: what must reach another system because a transaction committed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.clock import Clock
from hogsend.engine.tables import jobs, outbox
from hogsend.storage.metadata import new_id

RUN_START = "run.start"
RUN_WAKE = "run.wake"
RUN_CANCEL = "run.cancel"
JOB = "job"
CAPTURE = "analytics.capture"


async def publish_later(
    conn: AsyncConnection,
    clock: Clock,
    topic: str,
    payload: Mapping[str, Any],
    *,
    dedupe_key: str | None = None,
) -> None:
    """Write one row; the publisher delivers it at least once after this transaction commits.

    A second row with the same `dedupe_key` is not written.
    """
    wall = clock.wall()
    statement = insert(outbox).values(
        topic=topic, payload=dict(payload), dedupe_key=dedupe_key, created_at=wall, available_at=wall
    )
    await conn.execute(statement.on_conflict_do_nothing(index_elements=["dedupe_key"]))


async def enqueue_job(
    conn: AsyncConnection,
    clock: Clock,
    kind: str,
    payload: Mapping[str, Any],
    *,
    dedupe_key: str | None = None,
    delay: timedelta = timedelta(0),
    max_attempts: int = 8,
) -> UUID | None:
    """Queue background work with this transaction. `delay` is real time. None where `dedupe_key` is taken."""
    job_id = new_id()
    wall: datetime = clock.wall()
    statement = (
        insert(jobs)
        .values(
            id=job_id,
            kind=kind,
            payload=dict(payload),
            dedupe_key=dedupe_key,
            max_attempts=max_attempts,
            run_at=wall + delay,
            created_at=wall,
        )
        .on_conflict_do_nothing(index_elements=["dedupe_key"])
        .returning(jobs.c.id)
    )
    written: UUID | None = (await conn.execute(statement)).scalar_one_or_none()
    if written is not None:
        await publish_later(conn, clock, JOB, {"job_id": str(job_id)}, dedupe_key=f"job:{job_id}")
    return written
