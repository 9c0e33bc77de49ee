"""The watchdog of runs that an outside engine drives: whatever was lost there, the rows know what is due."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy import RowMapping, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

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

_states = journey_states.c


async def redrive_overdue(runtime: Runtime) -> int:
    """Call again the drivers of runs that are due by more than a minute (real time) and that nobody holds.

    A start brings a driver that lives back into a worker, and replaces one that died; a wake reaches one that
    waits. The pauses between calls double, so that an outage of hours does not fill the outbox. Returns how many
    were called.
    """
    clock = runtime.clock
    async with runtime.database.transaction() as conn:
        overdue = await conn.execute(
            select(_states.id, _states.generation, _states.epoch, _states.wake_at, _states.engine_run_id)
            .where(
                _states.status.in_(DRIVEN_STATUSES),
                _states.wake_at <= clock.now() - clock.product(OVERDUE),
                or_(_states.lease_until.is_(None), _states.lease_until <= clock.wall()),
            )
            .order_by(_states.wake_at)
            .limit(BATCH)
        )
        called = 0
        # What is handed over is locked, by id.
        for run in sorted(overdue.mappings().all(), key=lambda run: run["id"]):
            called += await _call(conn, runtime, run)
    if called:
        log.warning("overdue_runs_called_again", runs=called)
    return called


async def wake_released(runtime: Runtime, run_ids: Sequence[UUID]) -> None:
    """Wake the drivers of runs that a dead worker held: one that came meanwhile waits until its lease runs out."""
    if not run_ids:
        return
    async with runtime.database.transaction() as conn:
        held = select(_states.id, _states.generation).where(_states.id.in_(run_ids))
        for run in (await conn.execute(held)).all():
            payload = {"run_id": str(run.id), "generation": run.generation, "reason": "its worker died"}
            await publish_later(conn, runtime.clock, RUN_WAKE, payload)


async def _call(conn: AsyncConnection, runtime: Runtime, run: RowMapping) -> bool:
    late = runtime.clock.real(runtime.clock.now() - run["wake_at"])
    attempt = int(math.log2(late / OVERDUE))
    if await _was_called(conn, _key(run, attempt, RUN_START)):
        return False
    if attempt >= DEAF and await _was_called(conn, _key(run, attempt - 1, RUN_START)):
        return await _replace(conn, runtime, run)
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


def _key(run: RowMapping, attempt: int, topic: str) -> str:
    return ":".join(
        ("redrive", topic, *(str(run[name]) for name in ("id", "generation", "epoch")), str(attempt))
    )


async def _was_called(conn: AsyncConnection, key: str) -> bool:
    found = await conn.execute(select(outbox.c.id).where(outbox.c.dedupe_key == key))
    return found.first() is not None
