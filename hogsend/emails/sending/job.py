"""Delivery of sends that no run drives: the job that delivers one, and the sweep for those that were left."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.emails.sending.protocol import abandon, deliver
from hogsend.engine.jobs import RunAgain
from hogsend.engine.outbox import enqueue_job
from hogsend.runtime import Runtime
from hogsend.tables.emails import UNDER_WAY, email_sends
from hogsend.tables.journeys import journey_states

DELIVER = "emails.deliver"
LATE = timedelta(minutes=2)
BATCH = 500


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
    """Make up for sends that were left: queue those whose job is gone, settle those whose run has ended."""
    await _queue_late(runtime)
    await _settle_abandoned(runtime)


async def _queue_late(runtime: Runtime) -> None:
    """Queue sends outside journeys that are due and that no job will bring: their job died or was lost."""
    sends = email_sends.c
    wall = runtime.clock.wall()
    async with runtime.database.transaction() as conn:
        late = await conn.execute(
            select(sends.id)
            .where(
                sends.status.in_(UNDER_WAY),
                sends.state_id.is_(None),
                sends.next_attempt_at <= wall - LATE,
            )
            .limit(BATCH)
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


async def _settle_abandoned(runtime: Runtime) -> None:
    """Settle sends that were prepared, or tried, when their run was ended from outside: no run will bring them."""
    sends = email_sends.c
    async with runtime.database.read() as conn:
        left = await conn.execute(
            select(sends.id)
            .join(journey_states, journey_states.c.id == sends.state_id)
            .where(sends.status.in_(UNDER_WAY), journey_states.c.status.in_(("exited", "completed")))
            .limit(BATCH)
        )
        email_ids = left.scalars().all()
    for email_id in email_ids:
        async with runtime.database.transaction() as conn:
            await abandon(conn, runtime, email_id)
