"""What an event does to journeys: it ends runs, wakes runs, starts runs. Ingestion calls these, in this order.

Each expects the caller's transaction and the subject's lock (`lock_subjects`), so that what a guard saw is still
true when its verdict is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import Row, bindparam, delete, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.decisions.ledger import NewDecision, record_decisions
from hogsend.decisions.reasons import DecisionKind, Reason
from hogsend.engine.outbox import RUN_START, RUN_WAKE, OutboxMessage, publish_all
from hogsend.enrollment.condition_facts import ContactFacts
from hogsend.enrollment.entry_history import entry_histories
from hogsend.enrollment.guards import EntryHistory, Guard, check_entry, refusal
from hogsend.enrollment.trigger_chains import chain_guard
from hogsend.journeys.conditions.builders import Condition, evaluate, matches_properties
from hogsend.journeys.definition import Journey
from hogsend.runs.ending import end_runs
from hogsend.runs.status import ENTERED
from hogsend.runs.traced import woken_by
from hogsend.runtime import Runtime
from hogsend.storage.database import Record
from hogsend.storage.metadata import new_id
from hogsend.tables.journeys import LIVE_STATUSES, journey_states, journey_steps, journey_waits
from hogsend.telemetry import traces

if TYPE_CHECKING:
    from hogsend.events.event import Event

_states = journey_states.c
_steps = journey_steps.c
_LISTENING = (
    select(journey_waits)
    .where(
        journey_waits.c.contact_id == bindparam("contact"),
        journey_waits.c.event == bindparam("event"),
        journey_waits.c.since_seq < bindparam("seq"),
        journey_waits.c.deadline >= bindparam("received_at"),
    )
    .order_by(journey_waits.c.state_id)
)
_ENTER = pg_insert(journey_states).on_conflict_do_nothing().returning(_states.id, _states.journey_id)


@dataclass(frozen=True)
class Exit:
    """A live run that listens for this event to end it; `exited` is False where its conditions did not hold."""

    journey_id: str
    state_id: UUID
    exited: bool


@dataclass(frozen=True)
class Enrollment:
    """One journey's verdict on one trigger event."""

    journey_id: str
    enrolled: bool
    reason: Reason
    state_id: UUID | None
    guards: tuple[Guard, ...]


async def exit_matching(conn: AsyncConnection, runtime: Runtime, event: Event, contact: Record) -> list[Exit]:
    """End the live runs whose `exit_on` matches. Raises their epoch, so whoever drives one is fenced."""
    listening = [j.id for j in runtime.registry.all() if j.exits_on(event.name)]
    if not listening:
        return []
    rows = await conn.execute(
        select(_states.id, _states.journey_id)
        .where(
            _states.contact_id == contact["id"],
            _states.journey_id.in_(listening),
            _states.status.in_(LIVE_STATUSES),
        )
        .order_by(_states.id)
        .with_for_update()
    )
    found = [(row, runtime.registry.get(row.journey_id)) for row in rows.all()]
    exits = [
        Exit(row.journey_id, row.id, await _any_holds(conn, runtime, journey, event, contact))
        for row, journey in found
        if journey is not None
    ]
    await end_runs(
        conn,
        runtime.clock,
        state_ids=[run.state_id for run in exits if run.exited],
        ending="exit",
        kind=DecisionKind.EXITED,
        reason=Reason.EXIT_EVENT,
        detail={"event": event.name},
        event_id=event.id,
    )
    return exits


async def _any_holds(
    conn: AsyncConnection, runtime: Runtime, journey: Journey, event: Event, contact: Record
) -> bool:
    facts = _facts(conn, runtime, event, contact)
    for trigger in journey.exits_on(event.name):
        if trigger.where is None or (await evaluate(trigger.where, facts)).held:
            return True
    return False


async def satisfy_waits(conn: AsyncConnection, runtime: Runtime, event: Event, contact: Record) -> list[UUID]:
    """Close the open waits that this event satisfies, and make their runs due. Returns the runs' ids."""
    waits = await conn.execute(
        _LISTENING,
        {
            "contact": contact["id"],
            "event": event.name,
            "seq": event.seq,
            "received_at": event.received_at,
        },
    )
    satisfied = {
        wait.state_id: wait.step_key for wait in waits if _satisfies(event, contact, wait.conditions)
    }
    return await _close_waits(conn, runtime, event, satisfied) if satisfied else []


def _satisfies(event: Event, contact: Record, conditions: Any) -> bool:
    if not conditions:
        return True
    return matches_properties(Condition.from_json(conditions), event.properties, contact["properties"])


def wait_result(event: Event) -> dict[str, Any]:
    """What the journal keeps of the event that ended a wait, and what the author is handed."""
    return {
        "timed_out": False,
        "event_id": str(event.id),
        "properties": dict(event.properties),
        "occurred_at": event.occurred_at.isoformat(),
        "seq": event.seq,
    }


async def _close_waits(
    conn: AsyncConnection, runtime: Runtime, event: Event, steps: Mapping[UUID, str]
) -> list[UUID]:
    """Close these open steps, each named by its run. Returns the runs that were live and still had it open."""
    now = runtime.clock.now()
    locked = await conn.execute(
        select(_states.id, _states.status, _states.contact_id, _states.journey_id, _states.generation)
        .where(_states.id.in_(steps))
        .order_by(_states.id)
        .with_for_update()
    )
    live = {run.id: run for run in locked if run.status in LIVE_STATUSES}
    closed = await conn.execute(
        update(journey_steps)
        .where(
            tuple_(_steps.state_id, _steps.key).in_([(run_id, steps[run_id]) for run_id in live]),
            _steps.status == "open",
        )
        .values(status="done", result=wait_result(event), closed_at=now)
        .returning(_steps.state_id)
    )
    still_open = set(closed.scalars())
    await conn.execute(delete(journey_waits).where(journey_waits.c.state_id.in_(live)))
    woken = [run for run_id, run in live.items() if run_id in still_open]
    if woken:
        await _wake(conn, runtime, event, woken, steps)
    return [run.id for run in woken]


async def _wake(
    conn: AsyncConnection,
    runtime: Runtime,
    event: Event,
    runs: Sequence[Row[*tuple[Any, ...]]],
    steps: Mapping[UUID, str],
) -> None:
    now = runtime.clock.now()
    await conn.execute(
        update(journey_states)
        .where(_states.id.in_([run.id for run in runs]))
        .values(wake_at=now, cursor_seq=event.seq, updated_at=now, trace=woken_by(traces.current()))
    )
    verdicts = [
        NewDecision(
            kind=DecisionKind.RESUMED,
            reason=Reason.EVENT_ARRIVED,
            detail={"event": event.name, "step": steps[run.id]},
            contact_id=run.contact_id,
            journey_id=run.journey_id,
            state_id=run.id,
            event_id=event.id,
        )
        for run in runs
    ]
    await record_decisions(conn, now, verdicts)
    hints = [
        OutboxMessage(
            RUN_WAKE,
            {"run_id": str(run.id), "generation": run.generation, "reason": f"event {event.name}"},
        )
        for run in runs
    ]
    await publish_all(conn, runtime.clock, hints)


async def enroll_matching(
    conn: AsyncConnection,
    runtime: Runtime,
    event: Event,
    contact: Record,
    *,
    replayed: bool = False,
) -> list[Enrollment]:
    """Reach one verdict for each journey that listens for this event, and record it with its reason."""
    journeys = runtime.registry.listening_to(event.name)
    chained = chain_guard(event.depth, event.chain)
    if chained is not None:
        kept_out = [Enrollment(journey.id, False, chained.reason, None, (chained,)) for journey in journeys]
        await _record(conn, runtime, event, contact, kept_out, replayed)
        return kept_out
    known = await entry_histories(conn, contact["id"], journeys)
    facts = _facts(conn, runtime, event, contact)
    asked = [(journey, await check_entry(journey, contact, known[journey.id], facts)) for journey in journeys]
    entering = [
        _run_row(runtime, journey, event, contact, known[journey.id])
        for journey, guards in asked
        if refusal(guards) is None
    ]
    entered = await _start(conn, runtime, entering)
    verdicts = [_enrollment(journey.id, guards, entered.get(journey.id)) for journey, guards in asked]
    await _record(conn, runtime, event, contact, verdicts, replayed)
    return verdicts


def _enrollment(journey_id: str, guards: Sequence[Guard], state_id: UUID | None) -> Enrollment:
    refused = refusal(guards)
    if refused:
        reason = refused.reason
    else:
        # Only a constraint can say no here, and only where a guard could not see why: a key of another life.
        reason = Reason.TRIGGER_MATCHED if state_id else Reason.ALREADY_ENTERED
    return Enrollment(journey_id, state_id is not None, reason, state_id, tuple(guards))


async def _record(
    conn: AsyncConnection,
    runtime: Runtime,
    event: Event,
    contact: Record,
    enrollments: Sequence[Enrollment],
    replayed: bool,
) -> None:
    more = {"replayed": True} if replayed else {}
    verdicts = [
        NewDecision(
            kind=DecisionKind.ENROLLED if one.enrolled else DecisionKind.SKIPPED,
            reason=one.reason,
            detail={"guards": [guard.to_json() for guard in one.guards]} | more,
            contact_id=contact["id"],
            journey_id=one.journey_id,
            state_id=one.state_id,
            event_id=event.id,
            moved="entered" if one.enrolled else None,
        )
        for one in enrollments
    ]
    await record_decisions(conn, runtime.clock.now(), verdicts)


def run_input(event: Event, contact: Record) -> dict[str, Any]:
    """What a run is about, frozen at entry: a replay must see the same person and event as the first time."""
    return {
        "event": {
            "id": str(event.id),
            "name": event.name,
            "properties": dict(event.properties),
            "occurred_at": event.occurred_at.isoformat(),
            **({"depth": event.depth, "chain": event.chain} if event.chain else {}),
        },
        "user": {
            "id": str(contact["id"]),
            "external_id": contact["external_id"],
            "email": contact["email"],
            "properties": dict(contact["properties"]),
        },
    }


def _run_row(
    runtime: Runtime, journey: Journey, event: Event, contact: Record, history: EntryHistory
) -> dict[str, Any]:
    now = runtime.clock.now()
    return {
        "id": new_id(),
        "journey_id": journey.id,
        "contact_id": contact["id"],
        "email": contact["email"],
        "status": ENTERED,
        "version": journey.version,
        "wake_at": now,
        "cursor_seq": event.seq,
        "input": run_input(event, contact),
        "context": dict(event.properties),
        "entry_key": f"{journey.id}:{contact['id']}" if journey.entry.limit == "once" else None,
        "entry_count": history.entries + 1,
        "trigger_event_id": event.id,
        "trace": traces.current(),
        "created_at": now,
        "updated_at": now,
    }


async def _start(
    conn: AsyncConnection, runtime: Runtime, runs: Sequence[Mapping[str, Any]]
) -> dict[str, UUID]:
    """Write these runs and tell the engine. Returns them by journey, but for those that a constraint refused."""
    if not runs:
        return {}
    entered = {row.journey_id: row.id for row in await conn.execute(_ENTER, runs)}
    hints = [
        OutboxMessage(
            RUN_START, {"run_id": str(run["id"]), "generation": 0}, dedupe_key=f"start:{run['id']}:0"
        )
        for run in runs
        if run["journey_id"] in entered
    ]
    await publish_all(conn, runtime.clock, hints)
    return entered


def _facts(conn: AsyncConnection, runtime: Runtime, event: Event, contact: Record) -> ContactFacts:
    return ContactFacts(
        conn,
        contact["id"],
        now=runtime.clock.now(),
        event_properties=event.properties,
        contact_properties=contact["properties"],
    )
