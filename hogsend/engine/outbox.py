"""Transactional outbox: what must reach another system because a transaction committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.clock import Clock
from hogsend.storage.bulk import BulkInsert
from hogsend.storage.metadata import new_id
from hogsend.tables.engine import jobs, outbox
from hogsend.telemetry import traces

RUN_START = "run.start"
RUN_WAKE = "run.wake"
RUN_CANCEL = "run.cancel"
JOB = "job"
CAPTURE = "analytics.capture"

_APPEND = BulkInsert(
    outbox,
    ("topic", "payload", "dedupe_key", "created_at", "available_at"),
    "ON CONFLICT (dedupe_key) DO NOTHING",
)


@dataclass(frozen=True)
class OutboxMessage:
    """One row of the outbox."""

    topic: str
    payload: Mapping[str, Any]
    dedupe_key: str | None = None


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
    await publish_all(conn, clock, [OutboxMessage(topic, payload, dedupe_key)])


async def publish_all(conn: AsyncConnection, clock: Clock, messages: Sequence[OutboxMessage]) -> None:
    """Write several in this order, with one statement."""
    wall = clock.wall()
    rows = [
        {
            "topic": message.topic,
            "payload": dict(message.payload),
            "dedupe_key": message.dedupe_key,
            "created_at": wall,
            "available_at": wall,
        }
        for message in messages
    ]
    if rows:
        await conn.execute(_APPEND.statement, _APPEND.given(rows))


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
            trace=traces.current(),
        )
        .on_conflict_do_nothing(index_elements=["dedupe_key"])
        .returning(jobs.c.id)
    )
    written: UUID | None = (await conn.execute(statement)).scalar_one_or_none()
    if written is not None:
        await publish_later(conn, clock, JOB, {"job_id": str(job_id)}, dedupe_key=f"job:{job_id}")
    return written
