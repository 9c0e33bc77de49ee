"""End a run: the one way from a live status to an ended or blocked one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.clock import Clock
from hogsend.deadletters.actions import settle
from hogsend.decisions.actions import decide
from hogsend.decisions.reasons import Kind, Reason
from hogsend.engine.outbox import RUN_CANCEL, publish_later
from hogsend.journeys.tables import LIVE_STATUSES, journey_states, journey_waits
from hogsend.realtime import activity

End = Literal["completed", "exited", "failed", "blocked"]


async def end_run(
    conn: AsyncConnection,
    clock: Clock,
    *,
    state_id: UUID,
    status: End,
    kind: Kind,
    reason: Reason,
    detail: Mapping[str, Any] | None = None,
    error: str | None = None,
    event_id: UUID | None = None,
    epoch: int | None = None,
    changed_seq: int | None = None,
) -> bool:
    """Move a live run to `status`, raise its epoch, drop its wait, and record why. In the caller's transaction.

    With `epoch`, only where the run still has it: the driver's own end. Without, whoever drives the run is
    fenced at its next touch. False, and nothing written, where the run was no longer live. A dead letter that a
    blocked run left is discarded when it exits: there is nothing more to retry.
    """
    now = clock.now()
    states = journey_states.c
    live = [states.id == state_id, states.status.in_(LIVE_STATUSES)]
    if epoch is not None:
        live.append(states.epoch == epoch)
    values: dict[str, Any] = {
        "status": status,
        "epoch": states.epoch + 1,
        "error": error,
        "ended_reason": reason.value,
        "changed_seq": changed_seq,
        "lease_owner": None,
        "lease_until": None,
        "wake_at": None,
        "updated_at": now,
    }
    if status != "blocked":
        values["ended_at"] = now
    if status in ("completed", "exited"):
        values[f"{status}_at"] = now
    ended = (
        await conn.execute(update(journey_states).where(*live).values(values).returning(journey_states))
    ).one_or_none()
    if ended is None:
        return False
    await conn.execute(delete(journey_waits).where(journey_waits.c.state_id == state_id))
    if status == "exited":
        await settle(conn, now, "journey", [str(state_id)], "discarded")
    await activity.record(
        conn,
        at=now,
        kind="state",
        type=status,
        ref_id=state_id,
        contact_id=ended.contact_id,
        journey_id=ended.journey_id,
    )
    await decide(
        conn,
        at=now,
        kind=kind,
        reason=reason,
        detail=detail,
        contact_id=ended.contact_id,
        journey_id=ended.journey_id,
        state_id=state_id,
        event_id=event_id,
    )
    if epoch is None:
        await publish_later(
            conn,
            clock,
            RUN_CANCEL,
            {"run_id": str(state_id), "engine_run_id": ended.engine_run_id},
            dedupe_key=f"cancel:{state_id}:{ended.epoch}",
        )
    return True
