"""Due runs: which they are, and when the next one will be."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.runtime import Runtime
from hogsend.tables.journeys import DRIVEN_STATUSES, journey_states

_states = journey_states.c


def _free(runtime: Runtime) -> ColumnElement[bool]:
    return or_(_states.lease_until.is_(None), _states.lease_until <= runtime.clock.wall())


async def due_runs(runtime: Runtime, limit: int) -> list[UUID]:
    """Runs whose time has come and that nobody drives, the longest due first."""
    query = (
        select(_states.id)
        .where(_states.status.in_(DRIVEN_STATUSES), _states.wake_at <= runtime.clock.now(), _free(runtime))
        .order_by(_states.wake_at)
        .limit(limit)
    )
    async with runtime.database.each_alone() as conn:
        return list((await conn.execute(query)).scalars())


async def note_engine_run(conn: AsyncConnection, run_id: UUID, engine_run_id: str) -> None:
    """Keep the engine's own id of a run that it started, for display and for cancelling there."""
    await conn.execute(update(journey_states).where(_states.id == run_id).values(engine_run_id=engine_run_id))


async def seconds_to_next_run(runtime: Runtime) -> float | None:
    """Real seconds until the next run is due; None where none is parked."""
    query = select(func.min(_states.wake_at)).where(
        _states.status.in_(DRIVEN_STATUSES), _states.wake_at > runtime.clock.now()
    )
    async with runtime.database.each_alone() as conn:
        wake_at = (await conn.execute(query)).scalar_one_or_none()
    if wake_at is None:
        return None
    return runtime.clock.real(wake_at - runtime.clock.now()).total_seconds()
