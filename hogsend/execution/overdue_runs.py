"""The watchdog of runs that an outside engine drives: whatever was lost there, the rows know what is due."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, RowMapping, Select, and_, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.engine.liveness import is_gone
from hogsend.engine.outbox import RUN_CANCEL, RUN_START, RUN_WAKE, publish_later
from hogsend.execution.external_engine import hand_over
from hogsend.runtime import Runtime
from hogsend.tables.engine import outbox
from hogsend.tables.journeys import DRIVEN_STATUSES, journey_states

log = structlog.get_logger(__name__)

OVERDUE = timedelta(minutes=1)
BATCH = 500
DEAF = 3
"""A driver that was called this often, over 2 ** 3 minutes, and never came, is replaced: what it last said to the
engine was lost with a connection, and the engine takes it for running."""

ORPHANED = timedelta(seconds=10)
"""A run that is late by so much, and whose driver was last in a process that died, has its driver called …"""

CAME_NOT = timedelta(seconds=15)
"""… and replaced where the call brought nobody for so long: the engine takes the dead one for running."""

_states = journey_states.c
_COLUMNS = (_states.id, _states.generation, _states.epoch, _states.wake_at, _states.engine_run_id)


def _late(runtime: Runtime, by: timedelta) -> ColumnElement[bool]:
    """Due for longer than `by` (real time), and nobody holds it."""
    clock = runtime.clock
    return and_(
        _states.status.in_(DRIVEN_STATUSES),
        _states.wake_at <= clock.now() - clock.product(by),
        or_(_states.lease_until.is_(None), _states.lease_until <= clock.wall()),
    )


async def some_overdue(runtime: Runtime) -> bool:
    """Whether `redrive_overdue` would have anything to look at. One read, from the index of due runs."""
    async with runtime.database.each_alone() as conn:
        return bool((await conn.execute(select(exists().where(_late(runtime, ORPHANED))))).scalar_one())


async def redrive_overdue(runtime: Runtime) -> int:
    """Call again the drivers of runs that are due by more than a minute (real time) and that nobody holds.

    A start brings a driver that lives back into a worker; a wake reaches one that waits. The pauses between calls
    double, so that an outage of hours does not fill the outbox. Where the process that a driver was in is known to be
    dead, by its heartbeat, its run waits for seconds only. Returns how many were called or replaced.
    """
    async with runtime.database.transaction() as conn:
        orphans = await _orphans(conn, runtime)
        overdue = (await conn.execute(_oldest(_late(runtime, OVERDUE)))).mappings().all()
        adopted = {run["id"] for run in orphans}
        # What is handed over is locked, by id.
        late = {run["id"]: run for run in (*overdue, *orphans)}
        called = 0
        for run_id, run in sorted(late.items()):
            call = _call_orphan if run_id in adopted else _call
            called += await call(conn, runtime, run)
    if called:
        log.warning("overdue_runs_called_again", runs=called, orphans=len(orphans))
    return called


def _oldest(which: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    return select(*_COLUMNS).where(which).order_by(_states.wake_at).limit(BATCH)


async def _orphans(conn: AsyncConnection, runtime: Runtime) -> Sequence[RowMapping]:
    """Late runs whose driver was last in a process that lives no more."""
    late = _late(runtime, ORPHANED)
    owners = await conn.execute(
        select(_states.driver_owner).where(late, _states.driver_owner.is_not(None)).distinct()
    )
    dead = [o for o in owners.scalars().all() if o != runtime.owner and await is_gone(conn, o)]
    if not dead:
        return []
    orphans = await conn.execute(_oldest(and_(late, _states.driver_owner.in_(dead))))
    return orphans.mappings().all()


async def wake_released(runtime: Runtime, run_ids: Sequence[UUID]) -> None:
    """Wake the drivers of runs that a dead worker held: one that came meanwhile waits until its lease runs out."""
    if not run_ids:
        return
    async with runtime.database.transaction() as conn:
        held = select(_states.id, _states.generation).where(_states.id.in_(run_ids))
        for run in (await conn.execute(held)).all():
            payload = {"run_id": str(run.id), "generation": run.generation, "reason": "its worker died"}
            await publish_later(conn, runtime.clock, RUN_WAKE, payload)


async def _call_orphan(conn: AsyncConnection, runtime: Runtime, run: RowMapping) -> bool:
    called_at = await _called_at(conn, _key(run, "orphan", RUN_START))
    if called_at is None:
        return await _publish(conn, runtime, run, "orphan")
    # One that was called in the future was called by a machine whose clock was ahead.
    if timedelta(0) <= runtime.clock.wall() - called_at < CAME_NOT:
        return False
    return await _replace(conn, runtime, run)


async def _call(conn: AsyncConnection, runtime: Runtime, run: RowMapping) -> bool:
    late = runtime.clock.real(runtime.clock.now() - run["wake_at"])
    attempt = int(math.log2(late / OVERDUE))
    if await _called_at(conn, _key(run, attempt, RUN_START)) is not None:
        return False
    if attempt >= DEAF and await _called_at(conn, _key(run, attempt - 1, RUN_START)) is not None:
        return await _replace(conn, runtime, run)
    return await _publish(conn, runtime, run, attempt)


async def _publish(conn: AsyncConnection, runtime: Runtime, run: RowMapping, attempt: int | str) -> bool:
    payload = {"run_id": str(run["id"]), "generation": run["generation"]}
    for topic, more in ((RUN_START, {}), (RUN_WAKE, {"reason": "overdue"})):
        await publish_later(
            conn, runtime.clock, topic, {**payload, **more}, dedupe_key=_key(run, attempt, topic)
        )
    return True


async def _replace(conn: AsyncConnection, runtime: Runtime, run: RowMapping) -> bool:
    if not await hand_over(conn, runtime, run["id"], run["generation"]):
        return False
    gone = {"run_id": str(run["id"]), "engine_run_id": run["engine_run_id"]}
    await publish_later(conn, runtime.clock, RUN_CANCEL, gone)
    return True


def _key(run: RowMapping, attempt: int | str, topic: str) -> str:
    return ":".join(
        ("redrive", topic, *(str(run[name]) for name in ("id", "generation", "epoch")), str(attempt))
    )


async def _called_at(conn: AsyncConnection, key: str) -> datetime | None:
    """When the call with this key was written (real time); None where it was not."""
    found = await conn.execute(select(outbox.c.created_at).where(outbox.c.dedupe_key == key))
    called_at: datetime | None = found.scalar_one_or_none()
    return called_at
