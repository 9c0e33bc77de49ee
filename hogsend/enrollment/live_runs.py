"""What events do to live runs: end them, or wake them from a wait. One event or many, each a statement a table.

Expects the caller's transaction and the subjects' locks (`lock_subjects`), so that no wait is armed and no run begins
meanwhile. An event that may end a run is the only one of its person in a call; `ingestion/waves.py` sees to that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, text
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.decisions.ledger import NewDecision, record_decisions
from hogsend.decisions.reasons import DecisionKind, Reason
from hogsend.engine.outbox import RUN_WAKE, OutboxMessage, publish_all
from hogsend.enrollment.arrival import Arrival
from hogsend.enrollment.condition_facts import ContactFacts
from hogsend.events.event import Event
from hogsend.journeys.conditions.builders import Condition, Trigger, evaluate, matches_properties
from hogsend.runs.ending import end_runs
from hogsend.runs.traced import WITH_EVENTS_TRACE
from hogsend.runtime import Runtime
from hogsend.storage.bulk import as_json
from hogsend.tables.journeys import LIVE_STATUSES, journey_states, journey_waits

_states = journey_states.c
_waits = journey_waits.c
_Run = Row[*tuple[Any, ...]]

_LOCK_RUNS = text(
    "SELECT id, status, contact_id, journey_id, generation FROM journey_states"
    " WHERE id = ANY(CAST(:waiting AS uuid[])) OR (contact_id = ANY(CAST(:contacts AS uuid[]))"
    " AND journey_id = ANY(CAST(:journeys AS text[])) AND status = ANY(CAST(:live AS text[]))) ORDER BY id FOR UPDATE"
).columns(_states.id, _states.status, _states.contact_id, _states.journey_id, _states.generation)
_WAITING_FOR = text(
    "SELECT w.state_id, w.step_key, w.contact_id, w.event, w.conditions, w.since_seq, w.deadline"
    " FROM unnest(CAST(:contacts AS uuid[]), CAST(:events AS text[])) AS heard(contact_id, event)"
    " JOIN journey_waits w USING (contact_id, event) ORDER BY w.state_id"
).columns(
    _waits.state_id,
    _waits.step_key,
    _waits.contact_id,
    _waits.event,
    _waits.conditions,
    _waits.since_seq,
    _waits.deadline,
)
_CLOSE_STEPS = text(
    "UPDATE journey_steps s SET status = 'done', result = CAST(heard.result AS jsonb), closed_at = :now"
    " FROM unnest(CAST(:runs AS uuid[]), CAST(:keys AS text[]), CAST(:results AS text[]))"
    " AS heard(state_id, key, result)"
    " WHERE s.state_id = heard.state_id AND s.key = heard.key AND s.status = 'open' RETURNING s.state_id"
)
_MAKE_DUE = text(
    "UPDATE journey_states s SET wake_at = :now, updated_at = :now, cursor_seq = heard.seq,"
    f" trace = {WITH_EVENTS_TRACE}"
    " FROM unnest(CAST(:runs AS uuid[]), CAST(:seqs AS bigint[]), CAST(:traces AS text[]))"
    " AS heard(state_id, seq, event_trace) WHERE s.id = heard.state_id"
)


@dataclass(frozen=True)
class Exit:
    """A live run that listens for this event to end it; `exited` is False where its conditions did not hold."""

    journey_id: str
    state_id: UUID
    exited: bool


@dataclass(frozen=True)
class _Heard:
    """A wait, by its step, and the event that satisfies it."""

    step_key: str
    arrival: Arrival


async def meet_live_runs(
    conn: AsyncConnection, runtime: Runtime, arrivals: Sequence[Arrival]
) -> list[list[Exit]]:
    """End the live runs whose `exit_on` matches, wake those that wait for one of the events; the exits of each event.

    Exits come first: a run that an event ends is not woken by it. An end raises the epoch, so whoever drives the run
    is fenced. A replayed event satisfies no waits: they are for what happens after they were armed.
    """
    heard = await _satisfied(conn, arrivals)
    runs = await _lock(conn, runtime, arrivals, heard)
    exits = [await _exits(conn, runtime, arrival, runs) for arrival in arrivals]
    ended = await _end(conn, runtime, arrivals, exits)
    live = {run.id: run for run in runs if run.id in heard and run.id not in ended}
    if live:
        await _close_waits(conn, runtime, heard, live)
    return exits


async def _satisfied(conn: AsyncConnection, arrivals: Sequence[Arrival]) -> dict[UUID, _Heard]:
    """By run, the first of these events that its open wait is for."""
    heard: dict[tuple[UUID, str], list[Arrival]] = {}
    for arrival in arrivals:
        if not arrival.replayed:
            heard.setdefault((arrival.contact["id"], arrival.event.name), []).append(arrival)
    if not heard:
        return {}
    given = {"contacts": [person for person, _ in heard], "events": [name for _, name in heard]}
    satisfied = {}
    for wait in await conn.execute(_WAITING_FOR, given):
        by = next((a for a in heard[wait.contact_id, wait.event] if _satisfies(a, wait)), None)
        if by is not None:
            satisfied[wait.state_id] = _Heard(wait.step_key, by)
    return satisfied


def _satisfies(arrival: Arrival, wait: _Run) -> bool:
    event = arrival.event
    if not (wait.since_seq < event.seq and wait.deadline >= event.received_at):
        return False
    if not wait.conditions:
        return True
    return matches_properties(
        Condition.from_json(wait.conditions), event.properties, arrival.contact["properties"]
    )


async def _lock(
    conn: AsyncConnection, runtime: Runtime, arrivals: Sequence[Arrival], waiting: Iterable[UUID]
) -> list[_Run]:
    """The live runs that one of these events may end or wake, and maybe others of the same people.

    Under their rows' locks, which are taken by id, as everywhere.
    """
    journeys = runtime.registry.all()
    ending = {name: [j.id for j in journeys if j.exits_on(name)] for name in {a.event.name for a in arrivals}}
    given = {
        "waiting": list(waiting),
        "contacts": list({a.contact["id"] for a in arrivals if ending[a.event.name]}),
        "journeys": sorted({journey_id for ids in ending.values() for journey_id in ids}),
        "live": list(LIVE_STATUSES),
    }
    if not (given["waiting"] or given["contacts"]):
        return []
    return [run for run in (await conn.execute(_LOCK_RUNS, given)).all() if run.status in LIVE_STATUSES]


async def _exits(
    conn: AsyncConnection, runtime: Runtime, arrival: Arrival, runs: Sequence[_Run]
) -> list[Exit]:
    found = []
    for run in runs:
        journey = runtime.registry.get(run.journey_id)
        if run.contact_id != arrival.contact["id"] or journey is None:
            continue
        triggers = journey.exits_on(arrival.event.name)
        if triggers:
            facts = arrival.facts(conn, runtime)
            found.append(Exit(run.journey_id, run.id, await _any_holds(triggers, facts)))
    return found


async def _any_holds(triggers: Iterable[Trigger], facts: ContactFacts) -> bool:
    for trigger in triggers:
        if trigger.where is None or (await evaluate(trigger.where, facts)).held:
            return True
    return False


async def _end(
    conn: AsyncConnection, runtime: Runtime, arrivals: Sequence[Arrival], exits: Sequence[Sequence[Exit]]
) -> set[UUID]:
    """End what exits, once for each name of an event: a decision tells the name. Returns the runs."""
    by_name: dict[str, dict[UUID, UUID]] = {}
    for arrival, found in zip(arrivals, exits, strict=True):
        for run in found:
            if run.exited:
                by_name.setdefault(arrival.event.name, {})[run.state_id] = arrival.event.id
    for name, event_ids in by_name.items():
        await end_runs(
            conn,
            runtime.clock,
            state_ids=sorted(event_ids),
            ending="exit",
            kind=DecisionKind.EXITED,
            reason=Reason.EXIT_EVENT,
            detail={"event": name},
            event_ids=event_ids,
        )
    return {run_id for event_ids in by_name.values() for run_id in event_ids}


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
    conn: AsyncConnection, runtime: Runtime, heard: Mapping[UUID, _Heard], live: Mapping[UUID, _Run]
) -> None:
    """Close the open steps of these runs, and make those due that still had theirs open."""
    steps = {
        "runs": list(live),
        "keys": [heard[run_id].step_key for run_id in live],
        "results": [as_json(wait_result(heard[run_id].arrival.event)) for run_id in live],
    }
    closed = await conn.execute(_CLOSE_STEPS, steps | {"now": runtime.clock.now()})
    still_open = set(closed.scalars())
    await conn.execute(delete(journey_waits).where(_waits.state_id.in_(live)))
    woken = [run for run_id, run in live.items() if run_id in still_open]
    if woken:
        await _wake(conn, runtime, heard, woken)


async def _wake(
    conn: AsyncConnection, runtime: Runtime, heard: Mapping[UUID, _Heard], runs: Sequence[_Run]
) -> None:
    now = runtime.clock.now()
    by = {run.id: heard[run.id] for run in runs}
    due = {
        "runs": list(by),
        "seqs": [one.arrival.event.seq for one in by.values()],
        "traces": [one.arrival.trace for one in by.values()],
    }
    await conn.execute(_MAKE_DUE, due | {"now": now})
    verdicts = [
        NewDecision(
            kind=DecisionKind.RESUMED,
            reason=Reason.EVENT_ARRIVED,
            detail={"event": by[run.id].arrival.event.name, "step": by[run.id].step_key},
            contact_id=run.contact_id,
            journey_id=run.journey_id,
            state_id=run.id,
            event_id=by[run.id].arrival.event.id,
        )
        for run in runs
    ]
    await record_decisions(conn, now, verdicts)
    hints = [
        OutboxMessage(
            RUN_WAKE, {"run_id": str(run.id), "generation": run.generation, "reason": f"event {name}"}
        )
        for run in runs
        for name in (by[run.id].arrival.event.name,)
    ]
    await publish_all(conn, runtime.clock, hints)
