"""Retry of a send that was given up, on a person's word: the same bytes under the same key."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.decisions.ledger import NewDecision, record_decision
from hogsend.decisions.reasons import DecisionKind, Reason
from hogsend.emails.sending.job import DELIVER
from hogsend.engine.outbox import enqueue_job
from hogsend.errors import Conflict
from hogsend.runtime import Runtime
from hogsend.tables.emails import UNDER_WAY, email_sends

_sends = email_sends.c


async def reopen_one(conn: AsyncConnection, runtime: Runtime, email_id: UUID) -> None:
    """Queue the delivery of a send that failed, or whose job died: the same bytes under the same key.

    In the caller's transaction, which holds the locks of its contact and of its run. Raises `Conflict` where the
    send has reached its provider since.
    """
    row = (
        (await conn.execute(select(email_sends).where(_sends.id == email_id).with_for_update()))
        .mappings()
        .one()
    )
    if row["status"] not in (*UNDER_WAY, "failed") or row["payload"] is None:
        raise Conflict("The email has reached its provider since", code="MOVED_ON")
    wall, now = runtime.clock.wall(), runtime.clock.now()
    values: dict[str, Any] = {"next_attempt_at": wall, "updated_at": now}
    if row["status"] == "failed":
        values |= {
            "status": "queued",
            "refusal": None,
            "error": None,
            "outcome_unknown": False,
            "first_attempt_at": None,
        }
    await conn.execute(update(email_sends).where(_sends.id == email_id).values(values))
    await record_decision(
        conn,
        now,
        NewDecision(
            kind=DecisionKind.SEND,
            reason=Reason.OPERATOR_ASKED,
            detail={"template": row["template_key"], "to": row["to_email"], "retried": True},
            contact_id=row["contact_id"],
            journey_id=row["journey_id"],
            state_id=row["state_id"],
            event_id=row["event_id"],
            email_id=email_id,
        ),
    )
    await enqueue_job(conn, runtime.clock, DELIVER, {"email_id": str(email_id)})


async def reopen(conn: AsyncConnection, runtime: Runtime, email_id: UUID) -> None:
    """Let a send of unknown outcome be tried again, on a person's word that it did not arrive.

    Whoever calls this holds the locks of its contact and of its run.
    """
    sends = email_sends.c
    await conn.execute(
        update(email_sends)
        .where(
            sends.id == email_id,
            sends.status == "failed",
            sends.refusal == Reason.OUTCOME_UNKNOWN.value,
        )
        .values(
            status="queued",
            refusal=None,
            error=None,
            outcome_unknown=False,
            first_attempt_at=None,
            next_attempt_at=runtime.clock.wall(),
            updated_at=runtime.clock.now(),
        )
    )
