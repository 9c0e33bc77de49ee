"""Enrollment by events: each journey that listens for one reaches a verdict, and the runs that it starts.

Expects the caller's transaction and the subjects' locks (`lock_subjects`), so that what a guard saw is still true when
its verdict is written. One event or many, each a statement a table; of several events of one person, the one that may
start a run is the last of a call (`ingestion/waves.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import column
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.decisions.ledger import NewDecision, record_decisions
from hogsend.decisions.reasons import DecisionKind, Reason
from hogsend.engine.outbox import RUN_START, OutboxMessage, publish_all
from hogsend.enrollment.arrival import Arrival
from hogsend.enrollment.entry_history import HistoryKey, entry_histories
from hogsend.enrollment.guards import EntryHistory, Guard, check_entry, refusal
from hogsend.enrollment.trigger_chains import chain_guard
from hogsend.events.event import Event
from hogsend.journeys.definition import Journey
from hogsend.runs.status import ENTERED
from hogsend.runtime import Runtime
from hogsend.storage.bulk import BulkInsert
from hogsend.storage.database import Record
from hogsend.storage.metadata import new_id
from hogsend.tables.journeys import journey_states

_ENTER = BulkInsert(
    journey_states,
    (
        "id",
        "journey_id",
        "contact_id",
        "email",
        "status",
        "version",
        "wake_at",
        "cursor_seq",
        "input",
        "context",
        "entry_key",
        "entry_count",
        "trigger_event_id",
        "trace",
        "created_at",
        "updated_at",
    ),
    "ON CONFLICT DO NOTHING RETURNING id",
)
_ENTERED = _ENTER.statement.columns(column("id", PG_UUID(as_uuid=True)))


@dataclass(frozen=True)
class Enrollment:
    """One journey's verdict on one trigger event."""

    journey_id: str
    enrolled: bool
    reason: Reason
    state_id: UUID | None
    guards: tuple[Guard, ...]


async def enroll_matching(
    conn: AsyncConnection, runtime: Runtime, arrivals: Sequence[Arrival]
) -> list[list[Enrollment]]:
    """Reach one verdict for each journey that listens for each event, and record it with its reason."""
    listening = [runtime.registry.listening_to(arrival.event.name) for arrival in arrivals]
    pairs = {
        (arrival.contact["id"], journey.id): None
        for arrival, journeys in zip(arrivals, listening, strict=True)
        for journey in journeys
    }
    if not pairs:
        return [[] for _ in arrivals]
    known = await entry_histories(conn, pairs)
    asked = [
        (arrival, journey, await _ask(conn, runtime, arrival, journey, known))
        for arrival, journeys in zip(arrivals, listening, strict=True)
        for journey in journeys
    ]
    entering = [
        _run_row(runtime, journey, arrival, known[arrival.contact["id"], journey.id])
        for arrival, journey, guards in asked
        if refusal(guards) is None
    ]
    entered = await _start(conn, runtime, entering)
    verdicts: dict[UUID, list[Enrollment]] = {arrival.event.id: [] for arrival in arrivals}
    for arrival, journey, guards in asked:
        state_id = entered.get((arrival.event.id, journey.id))
        verdicts[arrival.event.id].append(_enrollment(journey.id, guards, state_id))
    await _record(conn, runtime, arrivals, verdicts)
    return [verdicts[arrival.event.id] for arrival in arrivals]


async def _ask(
    conn: AsyncConnection,
    runtime: Runtime,
    arrival: Arrival,
    journey: Journey,
    known: Mapping[HistoryKey, EntryHistory],
) -> Sequence[Guard]:
    """Every guard's verdict; of an event in too long a chain, that alone."""
    chained = chain_guard(arrival.event.depth, arrival.event.chain)
    if chained is not None:
        return [chained]
    contact = arrival.contact
    return await check_entry(journey, contact, known[contact["id"], journey.id], arrival.facts(conn, runtime))


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
    arrivals: Sequence[Arrival],
    enrollments: Mapping[UUID, Sequence[Enrollment]],
) -> None:
    verdicts = [
        NewDecision(
            kind=DecisionKind.ENROLLED if one.enrolled else DecisionKind.SKIPPED,
            reason=one.reason,
            detail={"guards": [guard.to_json() for guard in one.guards]}
            | ({"replayed": True} if arrival.replayed else {}),
            contact_id=arrival.contact["id"],
            journey_id=one.journey_id,
            state_id=one.state_id,
            event_id=arrival.event.id,
            moved="entered" if one.enrolled else None,
        )
        for arrival in arrivals
        for one in enrollments[arrival.event.id]
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


def _run_row(runtime: Runtime, journey: Journey, arrival: Arrival, history: EntryHistory) -> dict[str, Any]:
    now = runtime.clock.now()
    event, contact = arrival.event, arrival.contact
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
        "trace": arrival.trace,
        "created_at": now,
        "updated_at": now,
    }


async def _start(
    conn: AsyncConnection, runtime: Runtime, runs: Sequence[Mapping[str, Any]]
) -> dict[tuple[UUID, str], UUID]:
    """Write these runs and tell the engine. Returns them by event and journey, but for those a constraint refused."""
    if not runs:
        return {}
    entered = set((await conn.execute(_ENTERED, _ENTER.given(runs))).scalars())
    begun = [run for run in runs if run["id"] in entered]
    hints = [
        OutboxMessage(
            RUN_START, {"run_id": str(run["id"]), "generation": 0}, dedupe_key=f"start:{run['id']}:0"
        )
        for run in begun
    ]
    await publish_all(conn, runtime.clock, hints)
    return {(run["trigger_event_id"], run["journey_id"]): run["id"] for run in begun}
