"""Stuck runs: resume one from its journal, or skip the step in which it is stuck."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.deadletters.actions import resolve_dead_letters
from hogsend.decisions.ledger import NewDecision, record_decision
from hogsend.decisions.reasons import DecisionKind, Reason
from hogsend.emails.sending.reopen import reopen
from hogsend.engine.outbox import RUN_START, publish_later
from hogsend.errors import Conflict
from hogsend.execution.claimed_run import ClaimedRun
from hogsend.execution.replay import recorded
from hogsend.execution.send_step import email_of
from hogsend.journeys.steps.journal import Step
from hogsend.operations.cancel import find_state
from hogsend.runs.status import transition
from hogsend.runtime import Runtime
from hogsend.storage.database import lock_subjects
from hogsend.tables.deadletters import DeadLetterSource, DeadLetterStatus
from hogsend.tables.journeys import LIVE_STATUSES, STUCK_STATUSES, journey_states, journey_steps

_states = journey_states.c
_steps = journey_steps.c


async def resume_in(conn: AsyncConnection, runtime: Runtime, state_id: UUID) -> RowMapping:
    """Let a blocked or failed run go on from its journal. A send of unknown outcome is sent again.

    Locks the person, then the run. Raises `NotFound`, and `Conflict` where it is neither blocked nor failed, or
    where the person is in another run. Returns the row as it was before.
    """
    state = await _stuck(conn, state_id)
    step = await _open_step(conn, state_id)
    if step is not None and state["ended_reason"] == Reason.OUTCOME_UNKNOWN.value:
        email_id = await email_of(conn, state_id, step.key)
        if email_id is not None:
            await reopen(conn, runtime, email_id)
            await resolve_dead_letters(
                conn, runtime.clock.now(), DeadLetterSource.EMAIL, [str(email_id)], DeadLetterStatus.RETRIED
            )
    await _go_on(conn, runtime, state, Reason.OPERATOR_RESUMED, {})
    return state


async def skip_in(conn: AsyncConnection, runtime: Runtime, state_id: UUID) -> RowMapping:
    """Take the step that a run is stuck in as done, and go on behind it: a send as failed, a wait as timed out.

    Where the code changed, the journal is forgotten instead from the first step that does not fit, so that the new
    code decides what comes next. A step that it asks for again under the same key sends nothing a second time.
    Locks, raises and returns as `resume_in` does; `Conflict` too where the run is stuck in no step.
    """
    state = await _stuck(conn, state_id)
    if state["ended_reason"] == Reason.CODE_CHANGED.value:
        detail: dict[str, Any] = {"forgotten": await _forget(conn, state)}
    else:
        detail = {"step": await _take_as_done(conn, runtime, state)}
    await _go_on(conn, runtime, state, Reason.OPERATOR_SKIPPED_STEP, detail)
    return state


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
            email_id = await email_of(conn, state["id"], step.key)
            result = {"status": "failed", "email_id": str(email_id or ""), "reason": reason}
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
    if state["status"] not in STUCK_STATUSES:
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
        now,
        NewDecision(
            kind=DecisionKind.RESUMED,
            reason=reason,
            detail=detail,
            contact_id=state["contact_id"],
            journey_id=state["journey_id"],
            state_id=state["id"],
        ),
    )
    await resolve_dead_letters(
        conn, now, DeadLetterSource.JOURNEY, [str(state["id"])], DeadLetterStatus.RETRIED
    )
    await publish_later(
        conn,
        runtime.clock,
        RUN_START,
        {"run_id": str(state["id"]), "generation": generation},
        dedupe_key=f"start:{state['id']}:{generation}",
    )
