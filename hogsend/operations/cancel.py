"""Cancelling runs: one, or those that were chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.decisions.reasons import DecisionKind, Reason
from hogsend.errors import Conflict, NotFound
from hogsend.runs.ending import end_runs
from hogsend.runtime import Runtime
from hogsend.tables.journeys import LIVE_STATUSES, journey_states

_states = journey_states.c


@dataclass(frozen=True)
class Cancelled:
    """`in_engine` is True only where the engine really stopped something."""

    state_id: UUID
    exited_at: datetime
    in_engine: bool


async def find_state(
    conn: AsyncConnection, state_id: UUID, journey_id: str | None = None, *, lock: bool = False
) -> RowMapping:
    """Raises `NotFound`, also where the state is another journey's than `journey_id`."""
    query = select(journey_states).where(_states.id == state_id)
    if lock:
        query = query.with_for_update()
    row = (await conn.execute(query)).mappings().one_or_none()
    if row is None or (journey_id is not None and row["journey_id"] != journey_id):
        raise NotFound("Journey state")
    return row


async def cancel_in(
    conn: AsyncConnection, runtime: Runtime, state_id: UUID, journey_id: str | None = None
) -> RowMapping:
    """End a run for good, in the caller's transaction; its driver is fenced at its next touch.

    Raises `NotFound`, and `Conflict` where it has ended already. Returns the row as it was before.
    """
    before = await find_state(conn, state_id, journey_id, lock=True)
    ended = await end_runs(
        conn,
        runtime.clock,
        state_ids=[state_id],
        ending="exit",
        kind=DecisionKind.EXITED,
        reason=Reason.OPERATOR_CANCELLED,
    )
    if not ended:
        raise Conflict("Journey state is already in a terminal status", code="ALREADY_ENDED")
    return before


async def cancel(runtime: Runtime, state_id: UUID, journey_id: str | None = None) -> Cancelled:
    """`cancel_in` in a transaction of its own, then stop it in the engine too."""
    async with runtime.database.transaction() as conn:
        before = await cancel_in(conn, runtime, state_id, journey_id)
    in_engine = await runtime.engine.cancel_run(state_id, before["engine_run_id"])
    return Cancelled(state_id, runtime.clock.now(), in_engine)


async def live_states(
    conn: AsyncConnection,
    *,
    journey_id: str | None = None,
    contact_id: UUID | None = None,
    ids: Sequence[UUID] | None = None,
    limit: int,
) -> list[UUID]:
    """The live runs that fit, oldest first, at most `limit`."""
    query = select(_states.id).where(_states.status.in_(LIVE_STATUSES))
    if journey_id is not None:
        query = query.where(_states.journey_id == journey_id)
    if contact_id is not None:
        query = query.where(_states.contact_id == contact_id)
    if ids is not None:
        query = query.where(_states.id.in_(ids))
    return list((await conn.execute(query.order_by(_states.created_at, _states.id).limit(limit))).scalars())
