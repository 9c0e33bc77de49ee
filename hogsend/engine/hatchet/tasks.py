"""What Hatchet runs for us: a driver for each journey run, its slices, jobs, crons.

The driver is the only durable task, and only alternates a slice with a wait. Journeys' own code runs in slices,
which are ordinary tasks; so a journey that changed cannot contradict what Hatchet has recorded of its driver.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Literal
from uuid import UUID

import structlog
from hatchet_sdk import (
    Context,
    DurableContext,
    EmptyModel,
    EvictionPolicy,
    Hatchet,
    NonDeterminismError,
    NonRetryableException,
    SleepCondition,
    StatusBasedIdempotencyConfig,
    TaskRunError,
    UserEventCondition,
    or_,
)
from hatchet_sdk.runnables.workflow import BaseWorkflow, Standalone
from pydantic import BaseModel

from hogsend.engine.crons import Cron, run_cron
from hogsend.engine.hatchet import limits
from hogsend.runtime import Runtime

log = structlog.get_logger(__name__)


class DriverInput(BaseModel):
    """Hatchet compares recorded inputs when a driver comes back: fields may be added, with defaults, not changed."""

    run_id: UUID
    generation: int


class SliceInput(DriverInput):
    """`number` counts the driver's slices; `since` is when its first one began."""

    number: int
    since: datetime | None = None


class SliceOutput(BaseModel):
    """`seconds` to wait for the next slice, 0: none; wake-ups of `epoch` or later end the wait. `at`: when it began."""

    state: Literal["waiting", "done", "superseded"]
    seconds: int = 0
    epoch: int = 0
    at: datetime


class DriverOutput(BaseModel):
    state: str
    slices: int


class JobInput(BaseModel):
    job_id: UUID


Slice = Callable[[Runtime, SliceInput], Awaitable[SliceOutput]]
RunJob = Callable[[Runtime, UUID], Awaitable[object]]
DriverCame = Callable[[Runtime, UUID, int], Awaitable[object]]


@dataclass(frozen=True)
class Calls:
    """What the tasks call. They find the runtime in their context: the worker's lifespan made it.

    `driver_came` hears of each driver that comes into this process, anew or brought back.
    """

    slice: Slice
    driver_came: DriverCame
    job: RunJob
    crons: Sequence[Cron]


def declare(hatchet: Hatchet, calls: Calls) -> list[BaseWorkflow[Any]]:
    """Every task of ours, ready for a worker."""
    advance = _advance(hatchet, calls.slice)
    crons = [_cron(hatchet, cron) for cron in calls.crons if cron_expression(cron.every) is not None]
    return [advance, _driver(hatchet, advance, calls.driver_came), _job(hatchet, calls.job), *crons]


def cron_expression(every: timedelta) -> str | None:
    """The crontab line of an interval; None where crontab cannot say it, as with anything below a minute."""
    minutes, rest = divmod(every.total_seconds(), 60)
    if rest or minutes < 1:
        return None
    hours, odd = divmod(int(minutes), 60)
    if hours == 0:
        return f"*/{odd} * * * *" if 60 % odd == 0 else None
    if odd or 24 % hours:
        return None
    return f"0 */{hours} * * *" if hours < 24 else "0 0 * * *"


def _advance(hatchet: Hatchet, run_slice: Slice) -> Standalone[SliceInput, SliceOutput]:
    @hatchet.task(
        name=limits.ADVANCE,
        input_validator=SliceInput,
        execution_timeout=limits.ADVANCE_TIMEOUT,
        schedule_timeout=limits.QUEUED_AT_MOST,
        retries=limits.SLICE_RETRIES,
        backoff_factor=limits.BACKOFF_FACTOR,
        backoff_max_seconds=int(limits.BACKOFF_AT_MOST.total_seconds()),
    )
    async def advance(given: SliceInput, context: Context) -> SliceOutput:
        return await run_slice(context.lifespan, given)

    return advance


def _driver(
    hatchet: Hatchet, advance: Standalone[SliceInput, SliceOutput], came: DriverCame
) -> Standalone[DriverInput, DriverOutput]:
    @hatchet.durable_task(
        name=limits.RUN,
        input_validator=DriverInput,
        execution_timeout=limits.RUN_TIMEOUT,
        schedule_timeout=limits.QUEUED_AT_MOST,
        retries=limits.DRIVER_RETRIES,
        backoff_factor=limits.BACKOFF_FACTOR,
        backoff_max_seconds=int(limits.BACKOFF_AT_MOST.total_seconds()),
        eviction_policy=EvictionPolicy(ttl=limits.EVICTED_AFTER, allow_capacity_eviction=True, priority=0),
        idempotency=StatusBasedIdempotencyConfig(
            key_expression=f"'{limits.RUN}:' + input.run_id + ':' + string(input.generation)",
            fallback_ttl=limits.KEY_KEPT,
        ),
    )
    async def drive(given: DriverInput, context: DurableContext) -> DriverOutput:
        try:
            await came(context.lifespan, given.run_id, given.generation)
        except Exception:
            # It drives all the same; were its process to die, it would only be replaced later.
            log.warning("driver_not_noted", run_id=str(given.run_id), exc_info=True)
        try:
            return await _drive(given, context, advance)
        except NonDeterminismError as error:
            # Hatchet recorded another driver than this: ours changed with a deploy. The watchdog starts a fresh one.
            raise NonRetryableException(str(error)) from error

    return drive


async def _drive(
    given: DriverInput, context: DurableContext, advance: Standalone[SliceInput, SliceOutput]
) -> DriverOutput:
    """Slice, wait, slice … until the run is done or another driver has it. Repeated from the log when it comes back."""
    since: datetime | None = None
    epoch, at = 0, None
    for number in count():
        asked = SliceInput(run_id=given.run_id, generation=given.generation, number=number, since=since)
        try:
            outcome = await advance.aio_run(asked, child_key=f"slice-{number}")
        except TaskRunError as error:
            log.warning("slice_failed", run_id=str(given.run_id), error=error.exc)
            pause = limits.AFTER_FAILED_SLICE
        else:
            if outcome.state != "waiting":
                return DriverOutput(state=outcome.state, slices=number + 1)
            since = since or outcome.at
            epoch, at = outcome.epoch, outcome.at
            pause = min(timedelta(seconds=outcome.seconds), limits.LONGEST_WAIT)
        if pause > timedelta(0):
            await context.aio_wait_for(
                f"wait-{number}",
                or_(
                    SleepCondition(pause, "timer"),
                    UserEventCondition(
                        limits.WAKE,
                        f"input.epoch >= {epoch}.0",
                        "wake",
                        scope=str(given.run_id),
                        consider_events_since=at and at - limits.LOOKBACK,
                    ),
                ),
            )
    raise AssertionError("a count does not end")


def _job(hatchet: Hatchet, run: RunJob) -> Standalone[JobInput, dict[str, Any]]:
    """Its row counts attempts and says when to try again, so Hatchet does not."""

    @hatchet.task(
        name=limits.JOB,
        input_validator=JobInput,
        execution_timeout=limits.JOB_TIMEOUT,
        schedule_timeout=limits.QUEUED_AT_MOST,
        retries=0,
        idempotency=StatusBasedIdempotencyConfig(
            key_expression=f"'{limits.JOB}:' + input.job_id", fallback_ttl=limits.JOB_TIMEOUT
        ),
    )
    async def job(given: JobInput, context: Context) -> dict[str, Any]:
        await run(context.lifespan, given.job_id)
        return {}

    return job


def _cron(hatchet: Hatchet, cron: Cron) -> Standalone[EmptyModel, dict[str, Any]]:
    """One that no worker took in time is dropped: the next one does its work."""
    expression = cron_expression(cron.every)
    assert expression is not None

    @hatchet.task(
        name=f"{limits.CRON}{cron.name}",
        on_crons=[expression],
        execution_timeout=limits.CRON_TIMEOUT,
        schedule_timeout=cron.every,
        retries=0,
    )
    async def scheduled(given: EmptyModel, context: Context) -> dict[str, Any]:
        return {"ran": await run_cron(context.lifespan, cron)}

    return scheduled
