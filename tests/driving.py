"""Drive journeys by hand: deterministic slices on an injected clock, and crashes at named points."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import event, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from hogsend.clock import ManualClock
from hogsend.decisions.reasons import Reason
from hogsend.emails.sending.direct import send_in
from hogsend.emails.sending.prepare import PreparedSend
from hogsend.emails.sending.request import EmailRequest
from hogsend.events.event import NewEvent
from hogsend.execution.advance import Advanced, advance
from hogsend.execution.due_runs import due_runs
from hogsend.ingestion.ingest import ingest
from hogsend.ingestion.pipeline import IngestResult
from hogsend.runtime import Runtime
from hogsend.storage.database import Database
from hogsend.tables.journeys import DRIVEN_STATUSES, journey_states, journey_steps

ADA = "ada@example.com"


class Crashed(BaseException):
    """What a test raises where a process would have died."""


async def send_event(runtime: Runtime, name: str, email: str = ADA, **properties: Any) -> IngestResult:
    return await ingest(runtime, NewEvent(name=name, email=email, properties=properties))


async def send_email(runtime: Runtime, email: str = ADA, *, key: str | None = None) -> PreparedSend:
    """Ask for one email of the template `welcome`, as the data plane does."""
    async with runtime.database.transaction() as conn:
        asked = EmailRequest("welcome", to=email)
        return await send_in(conn, runtime, asked, key=key, reason=Reason.API_ASKED)


async def drive(runtime: Runtime, owner: str = "test") -> list[Advanced]:
    """Advance what is due until nothing is."""
    slices: list[Advanced] = []
    while due := await due_runs(runtime, 100):
        for run_id in due:
            slices.append(await advance(runtime, run_id, owner))
    return slices


async def drive_to_end(runtime: Runtime, clock: ManualClock, *, until: datetime | None = None) -> None:
    """Advance and move the clock to the next wake-up, until every run ended or the clock would pass `until`."""
    for _ in range(1_000):
        try:
            await drive(runtime)
        except Crashed:
            clock.advance(timedelta(minutes=3))
            continue
        upcoming = await next_wake(runtime)
        if upcoming is None or (until is not None and upcoming > until):
            return
        clock.set(max(upcoming, clock.now()))
    raise AssertionError("the runs did not come to an end")


async def next_wake(runtime: Runtime) -> datetime | None:
    """When the next parked run is due, or a leased one may be taken over."""
    states = journey_states.c
    async with runtime.database.read() as conn:
        found: datetime | None = (
            await conn.execute(
                select(
                    func.min(func.greatest(states.wake_at, func.coalesce(states.lease_until, states.wake_at)))
                ).where(states.status.in_(DRIVEN_STATUSES))
            )
        ).scalar_one()
    return found


def crash_once_at(runtime: Runtime, point: str, times: int = 1) -> list[str]:
    """Make `runtime` die the first `times` times that it reaches `point`. Returns the points seen, as they come."""
    seen: list[str] = []
    left = [times]

    def fault_point(reached: str) -> None:
        seen.append(reached)
        if reached == point and left[0] > 0:
            left[0] -= 1
            raise Crashed(point)

    runtime.fault_point = fault_point
    return seen


@contextmanager
def watching(runtime: Runtime, watch: Callable[[str], None]) -> Any:
    before = runtime.fault_point
    runtime.fault_point = watch
    try:
        yield
    finally:
        runtime.fault_point = before


async def rows(runtime: Runtime, sql: str, **values: Any) -> list[Any]:
    async with runtime.database.read() as conn:
        return list((await conn.execute(text(sql), values)).all())


async def statuses(runtime: Runtime) -> list[str]:
    return [
        row.status for row in await rows(runtime, "SELECT status FROM journey_states ORDER BY created_at, id")
    ]


async def journal(runtime: Runtime, run_id: UUID | None = None) -> list[str]:
    """The keys of a run's steps, in order; of the only run where none is named."""
    query = select(journey_steps.c.key).order_by(journey_steps.c.state_id, journey_steps.c.seq)
    if run_id is not None:
        query = query.where(journey_steps.c.state_id == run_id)
    async with runtime.database.read() as conn:
        return list((await conn.execute(query)).scalars())


async def reasons(runtime: Runtime) -> list[tuple[str, str]]:
    """Every verdict of the ledger, in order, as (kind, reason)."""
    return [
        (r.kind, r.reason) for r in await rows(runtime, "SELECT kind, reason FROM decisions ORDER BY seq")
    ]


async def expire_leases(runtime: Runtime) -> None:
    async with runtime.database.transaction() as conn:
        await conn.execute(update(journey_states).values(lease_until=None))


@contextmanager
def statements(database: Database, pool: AsyncEngine | None = None) -> Iterator[list[str]]:
    """Every statement that reaches Postgres within the block by the main pool, or by the one that is named."""
    seen: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    with listening(pool or database.engine, "before_cursor_execute", note):
        yield seen


@contextmanager
def listening(engine: AsyncEngine, happening: str, listener: Callable[..., None]) -> Iterator[None]:
    """Listen for what happens on the engine, within the block alone: the next test may get the same engine."""
    event.listen(engine.sync_engine, happening, listener)
    try:
        yield
    finally:
        event.remove(engine.sync_engine, happening, listener)
