"""What a deploy would do to the runs that are parked: told when a worker starts, before they wake.

Each run that began with other code is replayed with today's, as far as its journal goes. Nothing happens: the first
step that is not recorded as done ends the replay before it is taken, and functions given to `ctx.once` are not
called. What an author does outside of `ctx` has no effects, by contract.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import func, select, tuple_
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.exc import SQLAlchemyError

from hogsend.execution.replay import follow, recorded
from hogsend.journeys.conditions.builders import Condition
from hogsend.journeys.context import Context
from hogsend.journeys.definition import Journey
from hogsend.journeys.steps.interrupts import CodeChanged, Interrupt, RunFailed, Transient
from hogsend.journeys.steps.journal import Journal, Step
from hogsend.journeys.steps.step_driver import DecisionNote, SendArgs, StepFailed
from hogsend.journeys.steps.step_results import TriggerEvent, User
from hogsend.operations.versions import Check, keep_versions
from hogsend.runtime import Runtime
from hogsend.tables.journeys import DRIVEN_STATUSES, journey_states

log = structlog.get_logger(__name__)

MOST_RUNS = 500
BATCH = 100
LONGEST_REPLAY = timedelta(seconds=2)
_states = journey_states.c


class JournalEnds(Interrupt):
    """The replay came to a step that is not done."""


class ReplayOnlyDriver:
    """A driver that makes nothing happen: it answers what is recorded, and stops at what is not."""

    async def answer(self, step: Step, ask: str, note: Callable[[Any], DecisionNote | None]) -> Any:
        return _recorded(step)

    async def call(self, step: Step, function: Callable[[], Awaitable[Any]], timeout: timedelta) -> Any:
        kept = _recorded(step)
        if "error" in kept:
            raise StepFailed(kept["error"])
        return kept["value"]

    async def sleep(self, step: Step, until: Callable[[datetime], datetime]) -> None:
        _recorded(step)

    async def wait(
        self, step: Step, event: str, where: Condition | None, timeout: timedelta
    ) -> dict[str, Any]:
        return dict(_recorded(step))

    async def digest(self, step: Step, event: str, where: Condition | None, window: timedelta) -> list[Any]:
        return list(_recorded(step))

    async def send(self, step: Step, outgoing: SendArgs) -> dict[str, Any]:
        return dict(_recorded(step))

    async def trigger(self, step: Step, event: str, properties: Mapping[str, Any]) -> None:
        _recorded(step)


def _recorded(step: Step) -> Any:
    if not step.done:
        raise JournalEnds(step.key)
    return step.result


async def warn_of_breaking(runtime: Runtime) -> None:
    """Forecast, keep what came of it, and say what would stop. A worker calls it before it takes up any run.

    Without a database nothing can wake either: that is logged, and the worker starts.
    """
    try:
        checks = await forecast(runtime)
        async with runtime.database.transaction() as conn:
            await keep_versions(conn, runtime.clock.now(), runtime.registry.all(), checks)
    except (SQLAlchemyError, OSError):
        log.warning("parked_runs_not_checked", exc_info=True)
        return
    for check in checks:
        _tell(check)


def _tell(check: Check) -> None:
    known = {
        "journey": check.journey_id,
        "runs_of_version": check.version,
        "version_now": check.against,
        "parked": check.parked,
        "checked": check.checked,
    }
    if not check.breaking:
        log.info("parked_runs_go_on", **known)
        return
    log.warning(
        "deploy_would_stop_parked_runs",
        **known,
        would_stop=check.breaking,
        newest=str(check.run_id),
        because=check.mismatch,
        way_out="deploy the earlier code again before they wake, or resume, skip or cancel them when they are blocked",
    )


async def forecast(runtime: Runtime) -> list[Check]:
    """How the parked runs of other versions than today's would go on: one `Check` for each journey and version.

    The newest `MOST_RUNS` of each are replayed. Reads only.
    """
    checks: list[Check] = []
    for group in await _parked(runtime):
        journey = runtime.registry.get(group.journey_id)
        if journey is None:
            gone = f"no journey {group.journey_id!r} in this deployment"
            check = Check(
                group.journey_id,
                group.version,
                None,
                group.parked,
                group.parked,
                group.parked,
                gone,
                group.ids[0],
            )
        else:
            check = await _check(runtime, journey, group)
        checks.append(check)
    return checks


@dataclass(frozen=True)
class _Group:
    """The parked runs of one journey and version; `ids` are the newest."""

    journey_id: str
    version: str
    parked: int
    ids: Sequence[UUID]


async def _parked(runtime: Runtime) -> list[_Group]:
    today = [(journey.id, journey.version) for journey in runtime.registry.all()]
    same = [_states.journey_id, _states.version]
    ranked = (
        select(
            _states.id,
            *same,
            func.row_number()
            .over(partition_by=same, order_by=[_states.created_at.desc(), _states.id.desc()])
            .label("place"),
            func.count().over(partition_by=same).label("parked"),
        )
        .where(_states.status.in_(DRIVEN_STATUSES), tuple_(*same).not_in(today))
        .subquery()
    )
    query = (
        select(
            ranked.c.journey_id,
            ranked.c.version,
            func.min(ranked.c.parked).label("parked"),
            func.array_agg(aggregate_order_by(ranked.c.id, ranked.c.place)).label("ids"),
        )
        .where(ranked.c.place <= MOST_RUNS)
        .group_by(ranked.c.journey_id, ranked.c.version)
        .order_by(ranked.c.journey_id, ranked.c.version)
    )
    async with runtime.database.read() as conn:
        rows = await conn.execute(query)
        return [_Group(row.journey_id, row.version, row.parked, row.ids) for row in rows]


async def _check(runtime: Runtime, journey: Journey, group: _Group) -> Check:
    breaking = 0
    newest: tuple[UUID, str] | None = None
    for start in range(0, len(group.ids), BATCH):
        ids = group.ids[start : start + BATCH]
        async with runtime.database.read() as conn:
            found = await conn.execute(select(_states.id, _states.input).where(_states.id.in_(ids)))
            inputs = {row.id: row.input for row in found}
            steps = await recorded(conn, ids)
        for run_id in (one for one in ids if one in inputs):
            mismatch = await replay(journey, inputs[run_id], steps[run_id])
            if mismatch is not None:
                breaking += 1
                newest = newest or (run_id, mismatch)
    return Check(
        journey.id,
        group.version,
        journey.version,
        group.parked,
        len(group.ids),
        breaking,
        newest[1] if newest else None,
        newest[0] if newest else None,
    )


async def replay(journey: Journey, given: Mapping[str, Any], steps: Sequence[Step]) -> str | None:
    """Why a run with this input and these steps would stop with this code; None where it goes on."""
    journal = Journal(steps)
    context = Context(
        ReplayOnlyDriver(), journal, User.from_json(given["user"]), TriggerEvent.from_json(given["event"])
    )
    try:
        async with asyncio.timeout(LONGEST_REPLAY.total_seconds()):
            await follow(journey, context, journal)
    except (CodeChanged, RunFailed) as stopped:
        return str(stopped)
    except TimeoutError:
        return f"the code did not come to its next step within {LONGEST_REPLAY.total_seconds():g} s"
    except Transient as hiccup:
        return f"{hiccup}: {hiccup.__cause__}"
    except JournalEnds:
        return None
    return None
