"""What an operator does to journeys and their runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, delete, select
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.deadletters.actions import resolve_dead_letters
from hogsend.decisions.ledger import record_decision
from hogsend.decisions.reasons import Kind, Reason
from hogsend.emails.sending.reopen import reopen
from hogsend.engine.outbox import RUN_START, publish_later
from hogsend.errors import Conflict, InvalidInput, NotFound
from hogsend.events.event import NewEvent, check_event
from hogsend.execution.claimed_run import ClaimedRun
from hogsend.execution.replay import recorded
from hogsend.execution.send_step import email_of
from hogsend.ingestion.ingest import IngestResult, ingest, ingest_in
from hogsend.journeys.definition import Journey
from hogsend.journeys.steps.journal import Step
from hogsend.runs.ending import end_runs
from hogsend.runs.status import transition
from hogsend.runtime import Runtime
from hogsend.storage.database import lock_subjects
from hogsend.tables.journeys import LIVE_STATUSES, journey_settings, journey_states, journey_steps

MAX_BATCH = 500
_states = journey_states.c
_steps = journey_steps.c


@dataclass(frozen=True)
class Person:
    """Whom to enroll, and the properties of the trigger event."""

    external_id: str
    email: str
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Enrolled:
    """`reason` says why somebody was not taken in: a `Reason`, or what was wrong with the input."""

    external_id: str
    enrolled: bool
    reason: str | None = None
    state_id: UUID | None = None


@dataclass(frozen=True)
class Cancelled:
    """`in_engine` is True only where the engine really stopped something."""

    state_id: UUID
    exited_at: datetime
    in_engine: bool


def find_journey(runtime: Runtime, journey_id: str) -> Journey:
    """Raises `NotFound`."""
    journey = runtime.registry.get(journey_id)
    if journey is None:
        raise NotFound("Journey")
    return journey


async def set_enabled(conn: AsyncConnection, runtime: Runtime, journey_id: str, *, enabled: bool) -> datetime:
    """Override the code's `enabled`. Runs that are under way go on. Returns when it was changed."""
    find_journey(runtime, journey_id)
    now = runtime.clock.now()
    values = {"journey_id": journey_id, "enabled": enabled, "updated_at": now}
    await conn.execute(
        pg_insert(journey_settings)
        .values(values)
        .on_conflict_do_update(index_elements=[journey_settings.c.journey_id], set_=values)
    )
    return now


async def enroll(
    runtime: Runtime, journey_id: str, person: Person, *, idempotency_key: str | None = None
) -> IngestResult:
    """Let the journey's trigger event happen to a person; guards apply as to any other event."""
    journey = find_journey(runtime, journey_id)
    return await ingest(runtime, _trigger_event(journey, person, idempotency_key))


def _trigger_event(journey: Journey, person: Person, idempotency_key: str | None) -> NewEvent:
    return NewEvent(
        name=journey.trigger.event,
        external_id=person.external_id,
        email=person.email,
        properties=person.properties,
        idempotency_key=f"enroll:{journey.id}:{idempotency_key}" if idempotency_key else None,
        source="enroll",
    )


async def enroll_batch(
    runtime: Runtime, journey_id: str, people: Sequence[Person], *, idempotency_key: str | None = None
) -> list[Enrolled]:
    """Enroll 1 to 500 people, each in a transaction of their own; one bad row does not stop the rest."""
    find_journey(runtime, journey_id)
    _check_size(people)
    results: list[Enrolled] = []
    for index, person in enumerate(people):
        key = f"{idempotency_key}:{index}" if idempotency_key else None
        try:
            outcome = await enroll(runtime, journey_id, person, idempotency_key=key)
        except InvalidInput as error:
            results.append(Enrolled(person.external_id, False, error.message))
            continue
        results.append(_verdict(journey_id, person, outcome))
    return results


def _check_size(people: Sequence[Person]) -> None:
    if not 1 <= len(people) <= MAX_BATCH:
        raise InvalidInput("users", f"users must hold 1 to {MAX_BATCH} entries")


def _verdict(journey_id: str, person: Person, outcome: IngestResult) -> Enrolled:
    mine = next((e for e in outcome.enrollments if e.journey_id == journey_id), None)
    if mine is None:
        return Enrolled(person.external_id, False, "already_ingested")
    return Enrolled(
        person.external_id, mine.enrolled, None if mine.enrolled else mine.reason.value, mine.state_id
    )


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
        kind=Kind.EXITED,
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


async def resume_in(conn: AsyncConnection, runtime: Runtime, state_id: UUID) -> None:
    """Let a blocked or failed run go on from its journal. A send of unknown outcome is sent again.

    Locks the person, then the run. Raises `NotFound`, and `Conflict` where it is neither blocked nor failed, or
    where the person is in another run.
    """
    state = await _stuck(conn, state_id)
    step = await _open_step(conn, state_id)
    if step is not None and state["ended_reason"] == Reason.OUTCOME_UNKNOWN.value:
        email_id = email_of(state_id, step.key)
        await reopen(conn, runtime, email_id)
        await resolve_dead_letters(conn, runtime.clock.now(), "email", [str(email_id)], "retried")
    await _go_on(conn, runtime, state, Reason.OPERATOR_RESUMED, {})


async def skip_in(conn: AsyncConnection, runtime: Runtime, state_id: UUID) -> None:
    """Take the step that a run is stuck in as done, and go on behind it: a send as failed, a wait as timed out.

    Where the code changed, the journal is forgotten instead from the first step that does not fit, so that the new
    code decides what comes next. A step that it asks for again under the same key sends nothing a second time.
    Locks and raises as `resume_in` does, and `Conflict` where the run is stuck in no step.
    """
    state = await _stuck(conn, state_id)
    if state["ended_reason"] == Reason.CODE_CHANGED.value:
        detail: dict[str, Any] = {"forgotten": await _forget(conn, state)}
    else:
        detail = {"step": await _take_as_done(conn, runtime, state)}
    await _go_on(conn, runtime, state, Reason.OPERATOR_SKIPPED_STEP, detail)


async def _forget(conn: AsyncConnection, state: RowMapping) -> list[str]:
    """Drop the journal from the step that the code no longer fits. Returns the keys of what was dropped."""
    forgotten = await conn.execute(
        delete(journey_steps)
        .where(_steps.state_id == state["id"], _steps.seq >= state["changed_seq"])
        .returning(_steps.seq, _steps.key)
    )
    return [row.key for row in sorted(forgotten)]


async def _take_as_done(conn: AsyncConnection, runtime: Runtime, state: RowMapping) -> str:
    step = await _open_step(conn, state["id"])
    if step is None or state["ended_reason"] == Reason.JOURNEY_MISSING.value:
        raise Conflict("The run is stuck in no step: resume or cancel it", code="NOTHING_TO_SKIP")
    result: Any = {}
    match step.kind:
        case "send":
            reason = Reason.OPERATOR_SKIPPED_STEP.value
            email_id = email_of(state["id"], step.key)
            result = {"status": "failed", "email_id": str(email_id), "reason": reason}
        case "wait":
            result = {"timed_out": True}
        case "digest":
            result = []
    past = None if step.kind == "send" else runtime.clock.now()
    await ClaimedRun(runtime, state).close(conn, step, result, past=past)
    return step.key


async def _open_step(conn: AsyncConnection, state_id: UUID) -> Step | None:
    steps = (await recorded(conn, [state_id]))[state_id]
    return next((step for step in steps if step.status == "open"), None)


async def _stuck(conn: AsyncConnection, state_id: UUID) -> RowMapping:
    """The run, locked behind its person: nobody can enroll them meanwhile."""
    contact_id = (await find_state(conn, state_id))["contact_id"]
    await lock_subjects(conn, [contact_id])
    state = await find_state(conn, state_id, lock=True)
    if state["status"] not in ("blocked", "failed"):
        raise Conflict("Journey state is neither blocked nor failed", code="NOT_STUCK")
    other = await conn.execute(
        select(_states.id).where(
            _states.journey_id == state["journey_id"],
            _states.contact_id == state["contact_id"],
            _states.id != state_id,
            _states.status.in_(LIVE_STATUSES),
        )
    )
    if other.first() is not None:
        raise Conflict("The person is in another run of this journey", code="ALREADY_IN_JOURNEY")
    return state


async def _go_on(
    conn: AsyncConnection, runtime: Runtime, state: RowMapping, reason: Reason, detail: Mapping[str, Any]
) -> None:
    """With a driver of its own generation: the one before ended with the run, or is just about to."""
    now = runtime.clock.now()
    generation = state["generation"] + 1
    await conn.execute(
        transition("resume")
        .where(_states.id == state["id"])
        .values(
            generation=generation,
            attempt=0,
            wake_at=now,
            error=None,
            ended_reason=None,
            changed_seq=None,
            ended_at=None,
            updated_at=now,
        )
    )
    await record_decision(
        conn,
        at=now,
        kind=Kind.RESUMED,
        reason=reason,
        detail=detail,
        contact_id=state["contact_id"],
        journey_id=state["journey_id"],
        state_id=state["id"],
    )
    await resolve_dead_letters(conn, now, "journey", [str(state["id"])], "retried")
    await publish_later(
        conn,
        runtime.clock,
        RUN_START,
        {"run_id": str(state["id"]), "generation": generation},
        dedupe_key=f"start:{state['id']}:{generation}",
    )


async def preview_batch(runtime: Runtime, journey_id: str, people: Sequence[Person]) -> list[Enrolled]:
    """What `enroll_batch` would answer now; each person's transaction is rolled back."""
    journey = find_journey(runtime, journey_id)
    _check_size(people)
    results: list[Enrolled] = []
    for person in people:
        event = _trigger_event(journey, person, None)
        try:
            check_event(event)
            async with runtime.database.engine.connect() as conn:
                outcome = await ingest_in(conn, runtime, event)
                await conn.rollback()
        except InvalidInput as error:
            results.append(Enrolled(person.external_id, False, error.message))
            continue
        verdict = _verdict(journey_id, person, outcome)
        results.append(replace(verdict, state_id=None))
    return results


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
