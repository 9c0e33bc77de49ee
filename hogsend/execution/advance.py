"""`advance`: one bounded, fenced, repeatable slice of a journey. Anyone may call it at any time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import structlog
from sqlalchemy import RowMapping, Text, bindparam, exists, func, or_, select, update
from structlog.contextvars import bound_contextvars

from hogsend.backoff import backoff
from hogsend.deadletters.actions import add_dead_letter
from hogsend.decisions.reasons import DecisionKind, Reason
from hogsend.execution.claimed_run import RUN_LEASE
from hogsend.execution.live_driver import LiveDriver
from hogsend.execution.replay import follow, recorded
from hogsend.journeys.context import Context
from hogsend.journeys.definition import Journey
from hogsend.journeys.steps.interrupts import (
    Blocked,
    CodeChanged,
    Interrupt,
    LeaseLost,
    RunEnded,
    RunFailed,
    Suspend,
)
from hogsend.journeys.steps.journal import Journal
from hogsend.journeys.steps.step_results import TriggerEvent, User
from hogsend.runs.ending import end_runs
from hogsend.runs.status import TRANSITIONS, transition
from hogsend.runs.traced import slice_span
from hogsend.runtime import Runtime
from hogsend.tables.deadletters import DeadLetterSource
from hogsend.tables.journeys import DRIVEN_STATUSES, journey_states, journey_steps
from hogsend.telemetry import traces
from hogsend.telemetry.counters import SLICE_SECONDS, SLICES

log = structlog.get_logger(__name__)

MAX_FRUITLESS_SLICES = 30
LONGEST_PAUSE = timedelta(minutes=5)
_states = journey_states.c
_steps = journey_steps.c

_CLAIM = (
    transition("claim")
    .where(
        _states.id == bindparam("run"),
        or_(_states.lease_until.is_(None), _states.lease_until <= bindparam("now")),
    )
    .values(
        lease_owner=bindparam("owner"),
        lease_until=bindparam("leased"),
        attempt=_states.attempt + 1,
    )
    .returning(journey_states)
)
# What keeps no traces leaves those of others as they are.
_TRACE = func.coalesce(bindparam("trace", type_=Text), _states.trace)
_HELD = (_states.id == bindparam("run"), _states.epoch == bindparam("held"))
_PARK = (
    transition("park")
    .where(*_HELD)
    .values(
        wake_at=bindparam("until"),
        attempt=0,
        lease_owner=None,
        lease_until=None,
        updated_at=bindparam("now"),
        trace=_TRACE,
    )
)
_WAKE = update(journey_states).where(*_HELD).values(wake_at=bindparam("until"))
_IS_OPEN = select(exists().where(_steps.state_id == bindparam("run"), _steps.status == "open"))


@dataclass(frozen=True)
class Advanced:
    """What a slice came to. `wake_at` (product time) says when to call again where the run is not done."""

    state: Literal["done", "waiting", "busy", "superseded"]
    status: str
    wake_at: datetime | None = None


async def advance(runtime: Runtime, run_id: UUID, owner: str, generation: int | None = None) -> Advanced:
    """Claim the run, replay its function over the journal until it ends or must wait, persist, release.

    A run that another caller holds answers `busy`; one of another `generation` answers `superseded`.
    """
    claimed = await _claim(runtime, run_id, owner, generation)
    if isinstance(claimed, Advanced):
        return claimed
    run, journal = claimed
    began = time.perf_counter()
    with bound_contextvars(run_id=str(run_id), journey=run["journey_id"]), slice_span(run) as span:
        advanced = await _slice(runtime, run, journal)
        span.note({"hogsend.state": advanced.state})
    SLICES.labels(advanced.state).inc()
    SLICE_SECONDS.observe(time.perf_counter() - began)
    return advanced


async def _slice(runtime: Runtime, run: RowMapping, journal: Journal) -> Advanced:
    runtime.fault_point("after_claim")
    if run["attempt"] > MAX_FRUITLESS_SLICES:
        message = f"{run['attempt'] - 1} slices without progress"
        return await _fail(runtime, run, RunFailed(Reason.RETRIES_EXHAUSTED, message))
    journey = runtime.registry.get(run["journey_id"])
    if journey is None:
        message = f"no journey {run['journey_id']!r} in this deployment"
        return await _block(runtime, run, Reason.JOURNEY_MISSING, message)
    return await _replay(runtime, journey, run, journal)


async def _claim(
    runtime: Runtime, run_id: UUID, owner: str, generation: int | None
) -> tuple[RowMapping, Journal] | Advanced:
    """The run, leased to `owner`, and its journal, read while its row is locked."""
    wall = runtime.clock.wall()
    claim = _CLAIM if generation is None else _CLAIM.where(_states.generation == generation)
    values = {"run": run_id, "now": wall, "owner": owner, "leased": wall + RUN_LEASE}
    async with runtime.database.transaction() as conn:
        claimed = await conn.execute(claim, values)
        run: RowMapping | None = claimed.mappings().one_or_none()
        if run is not None:
            return run, Journal((await recorded(conn, [run_id]))[run_id])
        found = (
            await conn.execute(
                select(_states.status, _states.generation, _states.lease_until).where(_states.id == run_id)
            )
        ).one_or_none()
    if found is None:
        return Advanced("done", "missing")
    if found.status not in DRIVEN_STATUSES:
        return Advanced("done", found.status)
    if generation is not None and found.generation != generation:
        return Advanced("superseded", found.status)
    left = max(found.lease_until - wall, timedelta(0)) if found.lease_until else timedelta(0)
    return Advanced("busy", found.status, runtime.clock.now() + runtime.clock.product(left))


async def _replay(runtime: Runtime, journey: Journey, run: RowMapping, journal: Journal) -> Advanced:
    context = Context(
        LiveDriver(runtime, run),
        journal,
        User.from_json(run["input"]["user"]),
        TriggerEvent.from_json(run["input"]["event"]),
    )
    try:
        await follow(journey, context, journal)
    except Interrupt as interrupt:
        return await _stopped(runtime, run, interrupt)
    runtime.fault_point("before_complete")
    return await _complete(runtime, run)


async def _stopped(runtime: Runtime, run: RowMapping, interrupt: Interrupt) -> Advanced:
    match interrupt:
        case Suspend():
            return await _suspend(runtime, run, interrupt.wake_at)
        case RunEnded():
            return Advanced("done", "ended")
        case LeaseLost():
            return Advanced("superseded", "active")
        case CodeChanged():
            return await _block(runtime, run, Reason.CODE_CHANGED, str(interrupt), interrupt.seq)
        case Blocked():
            return await _block(runtime, run, interrupt.reason, interrupt.message)
        case RunFailed():
            return await _fail(runtime, run, interrupt)
    log.warning("slice_tried_again", run_id=str(run["id"]), exc_info=interrupt.__cause__ or interrupt)
    delay = backoff(run["attempt"] + 1, longest=LONGEST_PAUSE)
    return await _release(runtime, run, runtime.clock.now() + runtime.clock.product(delay))


async def _suspend(runtime: Runtime, run: RowMapping, wake_at: datetime) -> Advanced:
    """Park the run, unless what it waits for came meanwhile.

    Parking locks the run's row, and its open step is looked at only then, in a statement (so a snapshot) of its own:
    an event that closed the step in between is either seen here, or waits for this lock and then makes the run due.
    """
    mine = {"run": run["id"], "held": run["epoch"]}
    now = runtime.clock.now()
    async with runtime.database.transaction() as conn:
        parked = await conn.execute(_PARK, mine | {"until": wake_at, "now": now, "trace": traces.current()})
        if parked.rowcount and not (await conn.execute(_IS_OPEN, mine)).scalar_one():
            wake_at = runtime.clock.now()
            await conn.execute(_WAKE, mine | {"until": wake_at})
    runtime.fault_point("after_suspend")
    if parked.rowcount == 0:
        return Advanced("superseded", "active")
    return Advanced("waiting", "waiting", wake_at)


async def _release(runtime: Runtime, run: RowMapping, wake_at: datetime) -> Advanced:
    """Give the run back after a hiccup; `attempt` stays, so that one which never moves is noticed."""
    async with runtime.database.transaction() as conn:
        await conn.execute(
            transition("release")
            .where(_states.id == run["id"], _states.epoch == run["epoch"])
            .values(wake_at=wake_at, lease_owner=None, lease_until=None)
        )
    return Advanced("waiting", "waiting", wake_at)


async def _complete(runtime: Runtime, run: RowMapping) -> Advanced:
    async with runtime.database.transaction() as conn:
        ended = await end_runs(
            conn,
            runtime.clock,
            state_ids=[run["id"]],
            ending="complete",
            kind=DecisionKind.COMPLETED,
            reason=Reason.JOURNEY_ENDED,
            epoch=run["epoch"],
        )
    runtime.fault_point("after_complete")
    return Advanced("done", "completed") if ended else Advanced("superseded", "active")


async def _fail(runtime: Runtime, run: RowMapping, broken: RunFailed) -> Advanced:
    log.warning(
        "run_failed",
        run_id=str(run["id"]),
        journey=run["journey_id"],
        reason=broken.reason.value,
        exc_info=broken.__cause__,
    )
    return await _end_badly(runtime, run, "fail", DecisionKind.FAILED, broken.reason, broken.message)


async def _block(
    runtime: Runtime, run: RowMapping, reason: Reason, message: str, changed_seq: int | None = None
) -> Advanced:
    log.warning("run_blocked", run_id=str(run["id"]), journey=run["journey_id"], reason=reason.value)
    return await _end_badly(runtime, run, "block", DecisionKind.BLOCKED, reason, message, changed_seq)


async def _end_badly(
    runtime: Runtime,
    run: RowMapping,
    ending: Literal["fail", "block"],
    kind: DecisionKind,
    reason: Reason,
    message: str,
    changed_seq: int | None = None,
) -> Advanced:
    async with runtime.database.transaction() as conn:
        ended = await end_runs(
            conn,
            runtime.clock,
            state_ids=[run["id"]],
            ending=ending,
            kind=kind,
            reason=reason,
            detail={"error": message},
            error=message,
            epoch=run["epoch"],
            changed_seq=changed_seq,
        )
        if ended:
            await add_dead_letter(
                conn,
                runtime.clock,
                source=DeadLetterSource.JOURNEY,
                source_id=str(run["id"]),
                error=message,
                payload={"stateId": str(run["id"]), "journeyId": run["journey_id"], "reason": reason.value},
            )
    return Advanced("done", TRANSITIONS[ending].target) if ended else Advanced("superseded", "active")
