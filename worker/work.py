"""What the worker does: its jobs, its schedule, and where outbox rows go. The only list of each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping

from hogsend.access.audit import note_interrupted
from hogsend.alerts.deliveries import give_up_telling, tell_job
from hogsend.alerts.evaluation import evaluate_rules
from hogsend.alerts.invariants import SETTLED_AFTER, check_invariants
from hogsend.alerts.measures import EVERY, TELL
from hogsend.analytics.captures import capture_waiting, captures_wait
from hogsend.contacts.imports import IMPORT, give_up, run_import
from hogsend.deadletters.actions import add_dead_letter
from hogsend.emails.sending.job import DELIVER, deliver_job, sweep_sends
from hogsend.emails.tracking.webhook_events import match_stragglers
from hogsend.engine.crons import HEARTBEAT, Cron
from hogsend.engine.jobs import Handler, Work
from hogsend.engine.liveness import others_hold_leases, release_dead_leases
from hogsend.engine.retention import forget_old
from hogsend.events.partitions import make_partitions
from hogsend.execution.overdue_runs import redrive_overdue, some_overdue, wake_released
from hogsend.runtime import Runtime
from hogsend.storage.anchor import note_time
from hogsend.tables.access import audit_intents
from hogsend.tables.deadletters import DeadLetterSource
from hogsend.tables.emails import email_sends
from hogsend.tables.engine import jobs
from hogsend.tables.journeys import journey_states

HANDLERS: Mapping[str, Handler] = {
    DELIVER: deliver_job,
    IMPORT: run_import,
    TELL: tell_job,
}

# Every table whose rows a process holds for a while.
LEASED = (journey_states, email_sends, jobs, audit_intents)


async def heartbeat(runtime: Runtime) -> None:
    """Running is all it does: its row in `crons` says that a worker lives."""
    await note_time(runtime.database, runtime.clock)


async def watchdog(runtime: Runtime) -> None:
    """Find what stalled: leases of the dead."""
    released = await release_dead_leases(runtime, LEASED)
    await wake_released(runtime, released.get(journey_states.name, ()))
    if released.get(audit_intents.name):
        await note_interrupted(runtime)


async def somebody_may_be_dead(runtime: Runtime) -> bool:
    """Whether the watchdog would have anything to look at."""
    return await others_hold_leases(runtime, LEASED)


async def redrive(runtime: Runtime) -> None:
    """Find runs that are due and that nobody drives."""
    await redrive_overdue(runtime)


async def some_wait_for_a_driver(runtime: Runtime) -> bool:
    """Whether a run that is due waits for an outside engine. On the embedded one the workers' own polls find it."""
    return runtime.settings.engine != "embedded" and await some_overdue(runtime)


SCHEDULE: tuple[Cron, ...] = (
    Cron(HEARTBEAT, timedelta(seconds=5), heartbeat),
    Cron("watchdog", timedelta(seconds=2), watchdog, somebody_may_be_dead),
    Cron("redrive", timedelta(seconds=10), redrive, some_wait_for_a_driver),
    Cron("sweep-sends", timedelta(minutes=1), sweep_sends),
    Cron("settle-stragglers", timedelta(minutes=1), match_stragglers),
    Cron("captures", timedelta(seconds=1), capture_waiting, captures_wait, timedelta(seconds=15)),
    Cron("alerts", EVERY, evaluate_rules),
    Cron("invariants", SETTLED_AFTER, check_invariants),
    Cron("partitions", timedelta(hours=1), make_partitions),
    Cron("retention", timedelta(hours=1), forget_old),
    Cron("interrupted-mutations", timedelta(hours=1), note_interrupted),
)


async def bury_job(runtime: Runtime, job: RowMapping, error: str) -> None:
    """A failed job becomes a dead letter of the thing that it stood for; an import says so in its own row."""
    payload: Mapping[str, Any] = job["payload"]
    if job["kind"] == IMPORT:
        async with runtime.database.transaction() as conn:
            await give_up(conn, runtime.clock, UUID(payload["job_id"]))
        return
    source, source_id = (
        (DeadLetterSource.EMAIL, payload.get("email_id"))
        if "email_id" in payload
        else (DeadLetterSource.WEBHOOK, str(job["id"]))
    )
    async with runtime.database.transaction() as conn:
        if job["kind"] == TELL:
            await give_up_telling(conn, UUID(payload["delivery_id"]))
        await add_dead_letter(
            conn,
            runtime.clock,
            source=source,
            source_id=source_id,
            error=error,
            payload={"job": job["kind"], "jobId": str(job["id"]), **payload},
        )


WORK = Work(HANDLERS, bury_job)
