"""Sends that no journey drives: the job that delivers one, and the sweep that finds what fell behind."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.emails.sending import deliver
from hogsend.emails.tables import email_sends
from hogsend.engine.jobs import RunAgain
from hogsend.engine.outbox import enqueue_job
from hogsend.runtime import Runtime

DELIVER = "emails.deliver"
LATE = timedelta(minutes=2)


async def deliver_later(conn: AsyncConnection, runtime: Runtime, email_id: UUID) -> None:
    """Queue the delivery of a prepared send, in the transaction that prepared it."""
    await enqueue_job(
        conn, runtime.clock, DELIVER, {"email_id": str(email_id)}, dedupe_key=f"deliver:{email_id}"
    )


async def deliver_job(runtime: Runtime, payload: Mapping[str, Any]) -> None:
    """Handler of `emails.deliver`. Runs again where the provider wants it later."""
    outcome = await deliver(runtime, UUID(payload["email_id"]))
    if outcome.state == "later":
        raise RunAgain(outcome.retry_in or timedelta(seconds=5))


async def sweep_sends(runtime: Runtime) -> None:
    """Queue sends outside journeys that are due and that no job will bring: their job died or was lost."""
    sends = email_sends.c
    wall = runtime.clock.wall()
    async with runtime.database.transaction() as conn:
        late = await conn.execute(
            select(sends.id)
            .where(
                sends.status.in_(("queued", "rendered")),
                sends.state_id.is_(None),
                sends.next_attempt_at <= wall - LATE,
            )
            .limit(500)
        )
        for email_id in late.scalars().all():
            slot = int(wall.timestamp()) // int(LATE.total_seconds())
            await enqueue_job(
                conn,
                runtime.clock,
                DELIVER,
                {"email_id": str(email_id)},
                dedupe_key=f"sweep:{email_id}:{slot}",
            )
