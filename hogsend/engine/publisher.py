"""Outbox publisher: at least once, in order of writing; a failed row is pushed back and never in the way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import RowMapping, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.backoff import backoff
from hogsend.engine.outbox import JOB, RUN_CANCEL, RUN_START, RUN_WAKE
from hogsend.engine.port import Engine, EngineDown
from hogsend.runtime import Runtime
from hogsend.tables.engine import PUBLISHED_AT_ONCE, outbox
from hogsend.telemetry.counters import OTHER, OUTBOX

LONGEST_PAUSE = timedelta(minutes=5)

log = structlog.get_logger(__name__)

BATCH = 100
ENGINE_TOPICS = (RUN_START, RUN_WAKE, RUN_CANCEL, JOB)
_rows = outbox.c

NoteRun = Callable[[AsyncConnection, UUID, str], Awaitable[None]]


async def retry_now(runtime: Runtime) -> int:
    """Let rows for the engine that failed be tried again at once: it answers again. Returns how many."""
    wall = runtime.clock.wall()
    async with runtime.database.transaction() as conn:
        pushed_back = await conn.execute(
            update(outbox)
            .where(_rows.published_at.is_(None), _rows.available_at > wall, _rows.topic.in_(ENGINE_TOPICS))
            .values(available_at=wall)
        )
    return pushed_back.rowcount


class Publisher:
    """Hands outbox rows to the engine, one batch at a time.

    `note_run` keeps the engine's own id of a run that it started.
    """

    def __init__(
        self,
        runtime: Runtime,
        engine: Engine,
        *,
        note_run: NoteRun | None = None,
    ) -> None:
        self._runtime = runtime
        self._engine = engine
        self._note_run = note_run
        self._started: dict[UUID, str] = {}

    async def publish_due(self) -> int:
        """Deliver one batch. Rows stay locked meanwhile, so that two publishers share the work."""
        wall = self._runtime.clock.wall()
        async with self._runtime.database.transaction() as conn:
            rows = (
                (
                    await conn.execute(
                        select(outbox)
                        .where(PUBLISHED_AT_ONCE, _rows.available_at <= wall)
                        .order_by(_rows.id)
                        .limit(BATCH)
                        .with_for_update(skip_locked=True)
                    )
                )
                .mappings()
                .all()
            )
            self._started.clear()
            delivered = [row["id"] for row in rows if await self._deliver(conn, row)]
            self._runtime.fault_point("before_outbox_marked")
            if delivered:
                await conn.execute(
                    update(outbox)
                    .where(_rows.id.in_(delivered))
                    .values(published_at=self._runtime.clock.wall())
                )
            await self._note_started(conn)
        return len(rows)

    async def seconds_to_next(self) -> float | None:
        """Real seconds until a row that was pushed back is due; None where none was."""
        wall = self._runtime.clock.wall()
        query = select(func.min(_rows.available_at)).where(PUBLISHED_AT_ONCE, _rows.available_at > wall)
        async with self._runtime.database.each_alone() as conn:
            due_at: datetime | None = (await conn.execute(query)).scalar_one()
        return None if due_at is None else (due_at - wall).total_seconds()

    async def _note_started(self, conn: AsyncConnection) -> None:
        """Last of all: it locks the rows of runs, by id, and their first slices are waiting for those already."""
        if self._note_run is not None:
            for run_id, engine_run_id in sorted(self._started.items()):
                await self._note_run(conn, run_id, engine_run_id)

    async def _deliver(self, conn: AsyncConnection, row: RowMapping) -> bool:
        try:
            await self._hand_over(conn, row["topic"], row["payload"])
        except Exception as error:
            delay = backoff(row["attempts"] + 1, longest=LONGEST_PAUSE)
            known = isinstance(error, EngineDown)
            _count(row["topic"], "pushed_back")
            log.warning("outbox_row_pushed_back", topic=row["topic"], id=row["id"], exc_info=not known)
            await conn.execute(
                update(outbox)
                .where(_rows.id == row["id"])
                .values(
                    attempts=row["attempts"] + 1,
                    available_at=self._runtime.clock.wall() + delay,
                    error=f"{type(error).__name__}: {error}",
                )
            )
            return False
        _count(row["topic"], "delivered")
        return True

    async def _hand_over(self, conn: AsyncConnection, topic: str, payload: Mapping[str, Any]) -> None:
        match topic:
            case "run.start" if topic == RUN_START:
                run_id = UUID(payload["run_id"])
                engine_run_id = await self._engine.start_run(run_id, payload["generation"])
                if engine_run_id is not None:
                    self._started[run_id] = engine_run_id
            case "run.wake" if topic == RUN_WAKE:
                await self._engine.wake_run(UUID(payload["run_id"]), payload["generation"], payload["reason"])
            case "run.cancel" if topic == RUN_CANCEL:
                await self._engine.cancel_run(UUID(payload["run_id"]), payload["engine_run_id"])
            case "job" if topic == JOB:
                await self._engine.enqueue(UUID(payload["job_id"]))
            case _:
                raise ValueError(f"nobody takes the topic {topic}")


def _count(topic: str, outcome: str) -> None:
    OUTBOX.labels(topic if topic in ENGINE_TOPICS else OTHER, outcome).inc()
