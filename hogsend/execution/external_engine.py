"""A run as an outside engine drives it: a slice, and how long to wait for the next; drivers come in generations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.engine.outbox import RUN_START, publish_later
from hogsend.execution.advance import advance
from hogsend.runtime import Runtime
from hogsend.tables.journeys import DRIVEN_STATUSES, journey_states

_states = journey_states.c


@dataclass(frozen=True)
class SliceResult:
    """Where a run stands after a slice.

    `wait` is real time until it wants the next one; zero: now. A wake-up that is meant for this wait was written
    at `epoch` or later, so older ones are none of it.
    """

    state: Literal["waiting", "done", "superseded"]
    wait: timedelta = timedelta(0)
    epoch: int = 0


async def run_slice(runtime: Runtime, run_id: UUID, generation: int) -> SliceResult:
    """Advance the run, unless somebody else does; then read where it stands.

    The row has the last word, not what `advance` answered: a slice that was fenced by another delivery of itself
    is superseded, the driver that asked for it is not.
    """
    await advance(runtime, run_id, runtime.owner, generation)
    async with runtime.database.read() as conn:
        row = (
            await conn.execute(
                select(
                    _states.status, _states.generation, _states.epoch, _states.wake_at, _states.lease_until
                ).where(_states.id == run_id)
            )
        ).one_or_none()
    if row is None or row.status not in DRIVEN_STATUSES:
        return SliceResult("done")
    if row.generation != generation:
        return SliceResult("superseded")
    wall = runtime.clock.wall()
    if row.lease_until is not None and row.lease_until > wall:
        return SliceResult("waiting", row.lease_until - wall, row.epoch)
    ahead = runtime.clock.real(row.wake_at - runtime.clock.now())
    return SliceResult("waiting", max(ahead, timedelta(0)), row.epoch)


async def epoch_of(runtime: Runtime, run_id: UUID) -> int:
    """The run's epoch now; 0 where there is no such run."""
    async with runtime.database.read() as conn:
        found = (await conn.execute(select(_states.epoch).where(_states.id == run_id))).scalar_one_or_none()
    return int(found or 0)


async def note_driver(runtime: Runtime, run_id: UUID, generation: int) -> None:
    """Keep that the run's driver came into this process: where it dies, the watchdog replaces the driver."""
    async with runtime.database.each_alone() as conn:
        await conn.execute(
            update(journey_states)
            .where(
                _states.id == run_id, _states.generation == generation, _states.status.in_(DRIVEN_STATUSES)
            )
            .values(driver_owner=runtime.owner)
        )


async def hand_over(conn: AsyncConnection, runtime: Runtime, run_id: UUID, generation: int) -> bool:
    """Give a live run to a driver of the next generation, in the caller's transaction.

    The old one learns at its next tick that it is superseded. False where another generation drives it already,
    or where it ended.
    """
    moved = await conn.execute(
        update(journey_states)
        .where(_states.id == run_id, _states.generation == generation, _states.status.in_(DRIVEN_STATUSES))
        .values(generation=generation + 1, driver_owner=None)
    )
    if moved.rowcount == 0:
        return False
    await publish_later(
        conn,
        runtime.clock,
        RUN_START,
        {"run_id": str(run_id), "generation": generation + 1},
        dedupe_key=f"start:{run_id}:{generation + 1}",
    )
    return True
