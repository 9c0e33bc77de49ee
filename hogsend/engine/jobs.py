"""Background jobs: rows of `jobs`, claimed by lease, retried with backoff, a dead letter at the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import RowMapping, and_, func, or_, select, update

from hogsend.backoff import backoff
from hogsend.runtime import Runtime
from hogsend.tables.engine import jobs
from hogsend.telemetry import traces
from hogsend.telemetry.counters import JOBS, OTHER
from hogsend.telemetry.traces import Span

LONGEST_PAUSE = timedelta(minutes=10)

log = structlog.get_logger(__name__)

JOB_LEASE = timedelta(minutes=5)
_jobs = jobs.c

Handler = Callable[[Runtime, Mapping[str, Any]], Awaitable[None]]
AddDeadLetter = Callable[[Runtime, RowMapping, str], Awaitable[None]]


class RunAgain(Exception):
    """Raised by a handler that is not done: the job runs again `after` (real time), and no attempt is counted."""

    def __init__(self, after: timedelta) -> None:
        super().__init__(f"again in {after}")
        self.after = after


class JobFailed(Exception):
    """Raised by a handler for a failure of others that it expects: a line in the log, and no traceback.

    After `most_attempts` it is for good, where trying again is known to be of little use; else after the job's own.
    """

    def __init__(self, reason: str, *, most_attempts: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.most_attempts = most_attempts


@dataclass(frozen=True)
class Work:
    """What an engine runs beside journeys: handlers by job kind, and what keeps the dead letter of one that failed."""

    handlers: Mapping[str, Handler]
    add_dead_letter: AddDeadLetter


async def due_jobs(runtime: Runtime, limit: int, *, late: timedelta = timedelta(0)) -> list[UUID]:
    """Jobs that may run now: pending and due, or running with a lease that ended (their worker died).

    With `late` (real time), only those that might have run so long ago.
    """
    wall = runtime.clock.wall() - late
    async with runtime.database.each_alone() as conn:
        found = await conn.execute(
            select(_jobs.id).where(_claimable(wall)).order_by(_jobs.run_at).limit(limit)
        )
        return list(found.scalars())


async def seconds_to_next_job(runtime: Runtime) -> float | None:
    """Real seconds until the next job is due, or the next lease of one ends; None where nothing waits."""
    wall = runtime.clock.wall()
    pending = select(func.min(_jobs.run_at)).where(_jobs.status == "pending", _jobs.run_at > wall)
    leased = select(func.min(_jobs.lease_until)).where(_jobs.status == "running", _jobs.lease_until > wall)
    query = select(func.least(pending.scalar_subquery(), leased.scalar_subquery()))
    async with runtime.database.each_alone() as conn:
        due_at: datetime | None = (await conn.execute(query)).scalar_one()
    return None if due_at is None else (due_at - wall).total_seconds()


async def run_job(runtime: Runtime, work: Work, job_id: UUID, owner: str) -> bool:
    """Claim one job and run it. False where it was not due or somebody else has it."""
    job = await _claim(runtime, job_id, owner)
    if job is None:
        return False
    with structlog.contextvars.bound_contextvars(job_id=str(job_id)), _span(job):
        outcome = await _run(runtime, work, job)
    # A kind that nobody handles came from a row: what is written there makes no series.
    JOBS.labels(job["kind"] if job["kind"] in work.handlers else OTHER, outcome).inc()
    return True


async def _run(runtime: Runtime, work: Work, job: RowMapping) -> str:
    """Returns what came of this attempt, in a word."""
    try:
        await work.handlers[job["kind"]](runtime, job["payload"])
    except RunAgain as again:
        await _reschedule(runtime, job, again.after, job["attempts"] - 1, None)
        return "again"
    except JobFailed as error:
        log.warning(
            "job_failed",
            job_id=str(job["id"]),
            kind=job["kind"],
            attempt=job["attempts"],
            reason=error.reason,
        )
        await _retry_or_give_up(runtime, work, job, _words(error), error.most_attempts)
        return "failed"
    except Exception as error:
        log.exception("job_failed", job_id=str(job["id"]), kind=job["kind"], attempt=job["attempts"])
        await _retry_or_give_up(runtime, work, job, _words(error))
        return "failed"
    await _finish(runtime, job, "done", None)
    return "done"


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _span(job: RowMapping) -> AbstractContextManager[Span]:
    """The first attempt goes on in the trace of what queued it; a later one, perhaps hours after, is linked to it."""
    is_first = job["attempts"] == 1
    return traces.span(
        f"job {job['kind']}",
        kind="consumer",
        parent=job["trace"] if is_first else None,
        links=[job["trace"]] if job["trace"] and not is_first else [],
        attributes={"hogsend.job_id": str(job["id"]), "hogsend.attempt": job["attempts"]},
        is_root=not is_first,
    )


def _claimable(wall: Any) -> Any:
    return or_(
        and_(_jobs.status == "pending", _jobs.run_at <= wall),
        and_(_jobs.status == "running", _jobs.lease_until <= wall),
    )


async def _claim(runtime: Runtime, job_id: UUID, owner: str) -> RowMapping | None:
    wall = runtime.clock.wall()
    async with runtime.database.transaction() as conn:
        claimed = await conn.execute(
            update(jobs)
            .where(_jobs.id == job_id, _claimable(wall))
            .values(
                status="running",
                attempts=_jobs.attempts + 1,
                lease_owner=owner,
                lease_until=wall + JOB_LEASE,
            )
            .returning(jobs)
        )
        job: RowMapping | None = claimed.mappings().one_or_none()
    return job


async def _retry_or_give_up(
    runtime: Runtime, work: Work, job: RowMapping, error: str, most_attempts: int | None = None
) -> None:
    if job["attempts"] < min(job["max_attempts"], most_attempts or job["max_attempts"]):
        delay = backoff(job["attempts"] + 1, longest=LONGEST_PAUSE)
        await _reschedule(runtime, job, delay, job["attempts"], error)
        return
    await work.add_dead_letter(runtime, job, error)
    await _finish(runtime, job, "dead", error)


async def _reschedule(
    runtime: Runtime, job: RowMapping, after: timedelta, attempts: int, error: str | None
) -> None:
    async with runtime.database.transaction() as conn:
        await conn.execute(
            update(jobs)
            .where(_jobs.id == job["id"], _jobs.lease_owner == job["lease_owner"])
            .values(
                status="pending",
                attempts=attempts,
                run_at=runtime.clock.wall() + after,
                lease_owner=None,
                lease_until=None,
                error=error,
            )
        )


async def _finish(runtime: Runtime, job: RowMapping, status: str, error: str | None) -> None:
    async with runtime.database.transaction() as conn:
        await conn.execute(
            update(jobs)
            .where(_jobs.id == job["id"], _jobs.lease_owner == job["lease_owner"])
            .values(
                status=status,
                error=error,
                lease_owner=None,
                lease_until=None,
                finished_at=runtime.clock.wall(),
            )
        )
