"""What an event does to journeys: it ends runs, wakes runs, starts runs. Ingestion calls these, in this order.

Each expects the caller's transaction and the subject's lock (`lock_subjects`), so that what a guard saw is still
true when its verdict is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.decisions.actions import decide
from hogsend.decisions.reasons import Kind, Reason
from hogsend.engine.outbox import RUN_START, RUN_WAKE, publish_later
from hogsend.journeys.conditions import Condition, evaluate, matches_properties
from hogsend.journeys.definition import Journey
from hogsend.journeys.ending import end_run
from hogsend.journeys.facts import ContactFacts
from hogsend.journeys.guards import Guard, Standing, check_entry, refusal
from hogsend.journeys.standings import standings
from hogsend.journeys.tables import LIVE_STATUSES, journey_states, journey_steps, journey_waits
from hogsend.realtime import activity
from hogsend.runtime import Runtime
from hogsend.storage.database import Record
from hogsend.storage.metadata import new_id

if TYPE_CHECKING:
    from hogsend.events.ingest import Event

_states = journey_states.c


@dataclass(frozen=True)
class Exit:
    """A live run that listens for this event to end it; `exited` is False where its conditions did not hold."""

    journey_id: str
    state_id: UUID
    exited: bool


@dataclass(frozen=True)
class Enrolment:
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
        .with_for_update()
    )
    exits: list[Exit] = []
    for row in rows.all():
        journey = runtime.registry.get(row.journey_id)
        if journey is None:
            continue
        held = await _any_holds(conn, runtime, journey, event, contact)
        if held:
            await end_run(
                conn,
                runtime.clock,
                state_id=row.id,
                status="exited",
                kind=Kind.EXITED,
                reason=Reason.EXIT_EVENT,
                detail={"event": event.name},
                event_id=event.id,
            )
        exits.append(Exit(row.journey_id, row.id, held))
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
    waits = (
        await conn.execute(
            select(journey_waits)
            .where(
                journey_waits.c.contact_id == contact["id"],
                journey_waits.c.event == event.name,
                journey_waits.c.since_seq < event.seq,
                journey_waits.c.deadline >= event.received_at,
            )
            .order_by(journey_waits.c.state_id)
        )
    ).all()
    woken: list[UUID] = []
    for wait in waits:
        condition = Condition.from_json(wait.conditions) if wait.conditions else None
        if condition is not None and not matches_properties(
            condition, event.properties, contact["properties"]
        ):
            continue
        if await _close_wait(conn, runtime, event, wait.state_id, wait.step_key):
            woken.append(wait.state_id)
    return woken


def wait_result(event: Event) -> dict[str, Any]:
    """What the journal keeps of the event that ended a wait, and what the author is handed."""
    return {
        "timed_out": False,
        "event_id": str(event.id),
        "properties": dict(event.properties),
        "occurred_at": event.occurred_at.isoformat(),
        "seq": event.seq,
    }


async def _close_wait(
    conn: AsyncConnection, runtime: Runtime, event: Event, state_id: UUID, step_key: str
) -> bool:
    now = runtime.clock.now()
    state = (await conn.execute(select(journey_states).where(_states.id == state_id).with_for_update())).one()
    if state.status not in LIVE_STATUSES:
        return False
    closed = await conn.execute(
        update(journey_steps)
        .where(
            journey_steps.c.state_id == state_id,
            journey_steps.c.key == step_key,
            journey_steps.c.status == "open",
        )
        .values(status="done", result=wait_result(event), closed_at=now)
    )
    await conn.execute(delete(journey_waits).where(journey_waits.c.state_id == state_id))
    if closed.rowcount == 0:
        return False
    await conn.execute(
        update(journey_states)
        .where(_states.id == state_id)
        .values(wake_at=now, cursor_seq=event.seq, updated_at=now)
    )
    await decide(
        conn,
        at=now,
        kind=Kind.RESUMED,
        reason=Reason.EVENT_ARRIVED,
        detail={"event": event.name, "step": step_key},
        contact_id=state.contact_id,
        journey_id=state.journey_id,
        state_id=state_id,
        event_id=event.id,
    )
    await publish_later(
        conn,
        runtime.clock,
        RUN_WAKE,
        {"run_id": str(state_id), "generation": state.generation, "reason": f"event {event.name}"},
    )
    return True


async def enrol_matching(
    conn: AsyncConnection,
    runtime: Runtime,
    event: Event,
    contact: Record,
    *,
    replayed: bool = False,
) -> list[Enrolment]:
    """Reach one verdict for each journey that listens for this event, and record it with its reason."""
    journeys = runtime.registry.listening_to(event.name)
    known = await standings(conn, contact["id"], journeys)
    verdicts: list[Enrolment] = []
    for journey in journeys:
        guards = await check_entry(journey, contact, known[journey.id], _facts(conn, runtime, event, contact))
        verdicts.append(
            await _enrol(conn, runtime, journey, event, contact, known[journey.id], guards, replayed)
        )
    return verdicts


async def _enrol(
    conn: AsyncConnection,
    runtime: Runtime,
    journey: Journey,
    event: Event,
    contact: Record,
    standing: Standing,
    guards: Sequence[Guard],
    replayed: bool,
) -> Enrolment:
    refused = refusal(guards)
    state_id = None if refused else await _start(conn, runtime, journey, event, contact, standing)
    if refused:
        reason = refused.reason
    else:
        # Only a constraint can say no here, and only where a guard could not see why: a key of another life.
        reason = Reason.TRIGGER_MATCHED if state_id else Reason.ALREADY_ENTERED
    await decide(
        conn,
        at=runtime.clock.now(),
        kind=Kind.ENROLLED if state_id else Kind.SKIPPED,
        reason=reason,
        detail={"guards": [guard.to_json() for guard in guards]} | ({"replayed": True} if replayed else {}),
        contact_id=contact["id"],
        journey_id=journey.id,
        state_id=state_id,
        event_id=event.id,
    )
    return Enrolment(journey.id, state_id is not None, reason, state_id, tuple(guards))


def run_input(event: Event, contact: Record) -> dict[str, Any]:
    """What a run is about, frozen at entry: a replay must see the same person and event as the first time."""
    return {
        "event": {
            "id": str(event.id),
            "name": event.name,
            "properties": dict(event.properties),
            "occurred_at": event.occurred_at.isoformat(),
        },
        "user": {
            "id": str(contact["id"]),
            "external_id": contact["external_id"],
            "email": contact["email"],
            "properties": dict(contact["properties"]),
        },
    }


async def _start(
    conn: AsyncConnection,
    runtime: Runtime,
    journey: Journey,
    event: Event,
    contact: Record,
    standing: Standing,
) -> UUID | None:
    now = runtime.clock.now()
    state_id = new_id()
    statement = (
        pg_insert(journey_states)
        .values(
            id=state_id,
            journey_id=journey.id,
            contact_id=contact["id"],
            email=contact["email"],
            status="pending",
            version=journey.version,
            wake_at=now,
            cursor_seq=event.seq,
            input=run_input(event, contact),
            context=dict(event.properties),
            entry_key=f"{journey.id}:{contact['id']}" if journey.entry.limit == "once" else None,
            entry_count=standing.entries + 1,
            trigger_event_id=event.id,
            created_at=now,
            updated_at=now,
        )
        .on_conflict_do_nothing()
        .returning(_states.id)
    )
    if (await conn.execute(statement)).scalar_one_or_none() is None:
        return None
    await activity.record(
        conn,
        at=now,
        kind="state",
        type="entered",
        ref_id=state_id,
        contact_id=contact["id"],
        journey_id=journey.id,
    )
    await publish_later(
        conn,
        runtime.clock,
        RUN_START,
        {"run_id": str(state_id), "generation": 0},
        dedupe_key=f"start:{state_id}:0",
    )
    return state_id


def _facts(conn: AsyncConnection, runtime: Runtime, event: Event, contact: Record) -> ContactFacts:
    return ContactFacts(
        conn,
        contact["id"],
        now=runtime.clock.now(),
        event_properties=event.properties,
        contact_properties=contact["properties"],
    )
