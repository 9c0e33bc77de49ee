"""Ending runs: the one way from a live status to an ended or blocked one, with its decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Row, delete
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.clock import Clock
from hogsend.deadletters.actions import resolve_dead_letters
from hogsend.decisions.ledger import NewDecision, record_decisions
from hogsend.decisions.reasons import DecisionKind, Reason
from hogsend.engine.outbox import RUN_CANCEL, OutboxMessage, publish_all
from hogsend.runs.status import TRANSITIONS, transition
from hogsend.tables.deadletters import DeadLetterSource, DeadLetterStatus
from hogsend.tables.journeys import journey_states, journey_waits

Ending = Literal["complete", "exit", "fail", "block"]
_states = journey_states.c
_RETURNED = (_states.id, _states.contact_id, _states.journey_id, _states.engine_run_id, _states.epoch)


async def end_runs(
    conn: AsyncConnection,
    clock: Clock,
    *,
    state_ids: Sequence[UUID],
    ending: Ending,
    kind: DecisionKind,
    reason: Reason,
    detail: Mapping[str, Any] | None = None,
    error: str | None = None,
    event_ids: Mapping[UUID, UUID] | None = None,
    epoch: int | None = None,
    changed_seq: int | None = None,
) -> list[UUID]:
    """Make live runs take the transition `ending`, drop their waits, and record why. In the caller's transaction.

    With `epoch`, only where a run still has it: its driver's own end. Without, whoever drives one is fenced at its
    next touch; whoever ends several holds their rows' locks. `event_ids` names, by run, the event that ended it.
    Returns those that were live; of the others nothing is written. A dead letter that a blocked run left is discarded
    when it exits: there is nothing more to retry.
    """
    ended = (
        await _move(conn, clock, state_ids, ending, reason, error, epoch, changed_seq) if state_ids else []
    )
    if not ended:
        return []
    now = clock.now()
    ids = [run.id for run in ended]
    await conn.execute(delete(journey_waits).where(journey_waits.c.state_id.in_(ids)))
    if ending == "exit":
        await resolve_dead_letters(
            conn, now, DeadLetterSource.JOURNEY, [str(run_id) for run_id in ids], DeadLetterStatus.DISCARDED
        )
    verdicts = [
        NewDecision(
            kind=kind,
            reason=reason,
            detail=detail,
            contact_id=run.contact_id,
            journey_id=run.journey_id,
            state_id=run.id,
            event_id=(event_ids or {}).get(run.id),
            moved=TRANSITIONS[ending].target,
        )
        for run in ended
    ]
    await record_decisions(conn, now, verdicts)
    if epoch is None:
        await publish_all(conn, clock, [_cancel(run) for run in ended])
    return ids


async def exit_each(
    conn: AsyncConnection,
    clock: Clock,
    state_ids: Iterable[UUID],
    reason: Reason,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Let live runs exit one by one, which takes their rows' locks in this order: give them by id."""
    for state_id in state_ids:
        await end_runs(
            conn,
            clock,
            state_ids=[state_id],
            ending="exit",
            kind=DecisionKind.EXITED,
            reason=reason,
            detail=detail,
        )


async def _move(
    conn: AsyncConnection,
    clock: Clock,
    state_ids: Sequence[UUID],
    ending: Ending,
    reason: Reason,
    error: str | None,
    epoch: int | None,
    changed_seq: int | None,
) -> list[Row[Any]]:
    """The runs that were live and now are not, in the order of `state_ids`."""
    now = clock.now()
    status = TRANSITIONS[ending].target
    live: list[ColumnElement[bool]] = [_states.id.in_(state_ids)]
    if epoch is not None:
        live.append(_states.epoch == epoch)
    values: dict[str, Any] = {
        "error": error,
        "ended_reason": reason.value,
        "changed_seq": changed_seq,
        "lease_owner": None,
        "lease_until": None,
        "wake_at": None,
        "updated_at": now,
    }
    if status != "blocked":
        values["ended_at"] = now
    if status in ("completed", "exited"):
        values[f"{status}_at"] = now
    moved = await conn.execute(transition(ending).where(*live).values(values).returning(*_RETURNED))
    place = {state_id: number for number, state_id in enumerate(state_ids)}
    return sorted(moved.all(), key=lambda run: place[run.id])


def _cancel(run: Row[Any]) -> OutboxMessage:
    payload = {"run_id": str(run.id), "engine_run_id": run.engine_run_id}
    return OutboxMessage(RUN_CANCEL, payload, dedupe_key=f"cancel:{run.id}:{run.epoch}")
