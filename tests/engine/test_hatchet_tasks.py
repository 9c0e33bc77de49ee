"""What Hatchet is given to run: limits, crons, the driver's loop, generations."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hatchet_sdk import Hatchet, NonDeterminismError, NonRetryableException, TaskRunError
from hatchet_sdk.conditions import build_conditions_proto, flatten_conditions
from hatchet_sdk.contracts.v1.workflows_pb2 import STATUS, CreateWorkflowVersionRequest

from hogsend import days
from hogsend.clock import ManualClock
from hogsend.engine.embedded import EmbeddedEngine
from hogsend.engine.hatchet import limits, tasks
from hogsend.engine.hatchet.client import client_config, whole_seconds
from hogsend.engine.hatchet.tasks import DriverInput, SliceInput, SliceOutput, cron_expression, declare
from hogsend.execution.advance import advance
from hogsend.execution.external_engine import run_slice
from hogsend.operations.stuck_runs import resume_in
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from tests.driving import Crashed, journal, rows, send_event, statuses, watching
from tests.engine.one_run import enrolled, generation, starts
from worker.hatchet import BESIDE, CALLS, slice_for_hatchet
from worker.main import embedded_worker
from worker.work import SCHEDULE, watchdog

AT = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)


@pytest.fixture
def declared(on_hatchet: Settings) -> dict[str, CreateWorkflowVersionRequest]:
    given = declare(Hatchet(config=client_config(on_hatchet)), CALLS)
    return {task.name: task.to_proto() for task in given}


def test_every_task_has_limits_of_its_own(declared: dict[str, CreateWorkflowVersionRequest]) -> None:
    seen = {
        name: (request.tasks[0].timeout, request.tasks[0].schedule_timeout, request.tasks[0].retries)
        for name, request in declared.items()
        if not name.startswith(limits.CRON)
    }
    assert seen == {
        "journey-run": ("192h", "168h", 5),
        "journey-advance": ("3m", "168h", 8),
        "hogsend-job": ("6h", "168h", 0),
    }
    assert {name for name, request in declared.items() if request.tasks[0].is_durable} == {"journey-run"}
    for name, request in declared.items():
        assert request.tasks[0].timeout != "60s", name
        assert request.tasks[0].schedule_timeout != "5m", name


def test_keys_name_their_task_and_are_free_again_when_the_run_ends(
    declared: dict[str, CreateWorkflowVersionRequest],
) -> None:
    keyed = {
        name: request.idempotency for name, request in declared.items() if request.HasField("idempotency")
    }
    assert {name: key.expression for name, key in keyed.items()} == {
        "journey-run": "'journey-run:' + input.run_id + ':' + string(input.generation)",
        "hogsend-job": "'hogsend-job:' + input.job_id",
    }
    assert {key.method for key in keyed.values()} == {STATUS}


async def test_all_crons_are_scheduled_on_both_engines(
    runtime: Runtime, declared: dict[str, CreateWorkflowVersionRequest]
) -> None:
    wanted = {cron.name for cron in SCHEDULE}
    by_hatchet = {
        name.removeprefix(limits.CRON): list(request.cron_triggers)
        for name, request in declared.items()
        if request.cron_triggers
    }
    beside = {cron.name for cron in BESIDE}
    assert by_hatchet.keys() | beside == wanted
    assert not by_hatchet.keys() & beside
    assert by_hatchet["sweep-sends"] == ["*/1 * * * *"]
    # Hatchet may be what is in trouble, and within a minute is not soon enough: the workers keep it themselves.
    assert "redrive" in beside
    assert by_hatchet["alerts"] == ["*/1 * * * *"]
    assert by_hatchet["invariants"] == ["*/10 * * * *"]
    assert by_hatchet["retention"] == ["0 */1 * * *"]
    assert embedded_worker(runtime)._schedule == SCHEDULE
    runtime.engine = EmbeddedEngine(runtime)


@pytest.mark.parametrize(
    ("every", "line"),
    [
        (timedelta(seconds=2), None),
        (timedelta(seconds=90), None),
        (timedelta(minutes=1), "*/1 * * * *"),
        (timedelta(minutes=15), "*/15 * * * *"),
        (timedelta(minutes=7), None),
        (timedelta(hours=1), "0 */1 * * *"),
        (timedelta(minutes=90), None),
        (timedelta(hours=6), "0 */6 * * *"),
        (timedelta(hours=7), None),
        (timedelta(days=1), "0 0 * * *"),
        (timedelta(days=2), None),
    ],
)
def test_intervals_as_crontab(every: timedelta, line: str | None) -> None:
    assert cron_expression(every) == line


def test_a_wait_is_rounded_up() -> None:
    asked = [timedelta(0), timedelta(milliseconds=1), timedelta(seconds=1), timedelta(seconds=1.2)]
    assert [whole_seconds(wait) for wait in asked] == [0, 1, 1, 2]


class Recorder:
    """The durable context and the slice task of a driver, scripted."""

    def __init__(self, *outcomes: SliceOutput | Exception) -> None:
        self.outcomes = list(outcomes)
        self.asked: list[SliceInput] = []
        self.waits: list[tuple[str, Any]] = []

    async def aio_run(self, given: SliceInput, *, child_key: str) -> SliceOutput:
        assert child_key == f"slice-{given.number}"
        self.asked.append(given)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def aio_wait_for(self, key: str, group: Any) -> dict[str, Any]:
        self.waits.append((key, group))
        return {}


def waiting(seconds: int, epoch: int = 1) -> SliceOutput:
    return SliceOutput(state="waiting", seconds=seconds, epoch=epoch, at=AT)


DONE = SliceOutput(state="done", at=AT)


async def driven(*outcomes: SliceOutput | Exception) -> tuple[Recorder, Any]:
    recorder = Recorder(*outcomes)
    given = DriverInput(run_id=UUID(int=1), generation=3)
    return recorder, await tasks._drive(given, recorder, recorder)  # type: ignore[arg-type]


async def test_the_driver_slices_and_waits_until_the_run_is_done() -> None:
    recorder, end = await driven(waiting(90, epoch=4), waiting(0), DONE)
    assert (end.state, end.slices) == ("done", 3)
    assert [(ask.number, ask.generation, ask.since) for ask in recorder.asked] == [
        (0, 3, None),
        (1, 3, AT),
        (2, 3, AT),
    ]
    ((key, group),) = recorder.waits
    assert key == "wait-0"
    timer, wake = group.conditions
    assert timer.duration == timedelta(seconds=90)
    assert (wake.event_key, wake.scope, wake.expression) == (
        limits.WAKE,
        str(UUID(int=1)),
        "input.epoch >= 4.0",
    )
    assert wake.consider_events_since == AT - limits.LOOKBACK


async def test_a_wait_of_forty_days_is_cut(on_hatchet: Settings) -> None:
    recorder, _ = await driven(waiting(40 * 86_400), DONE)
    ((_, group),) = recorder.waits
    assert group.conditions[0].duration == timedelta(days=7)
    proto = build_conditions_proto(flatten_conditions([group]), client_config(on_hatchet))
    assert proto.sleep_conditions[0].sleep_for == "168h"
    assert timedelta(days=30) > limits.LONGEST_LIFE + limits.LONGEST_WAIT
    assert limits.LONGEST_WAIT < limits.RUN_TIMEOUT


async def test_a_failed_slice_is_followed_by_another() -> None:
    lost = TaskRunError("the database went away", "OSError", "", None)
    recorder, end = await driven(lost, waiting(5, epoch=2), lost, DONE)
    assert (end.state, end.slices) == ("done", 4)
    assert [group.conditions[0].duration for _, group in recorder.waits] == [
        limits.AFTER_FAILED_SLICE,
        timedelta(seconds=5),
        limits.AFTER_FAILED_SLICE,
    ]
    assert [group.conditions[1].expression for _, group in recorder.waits] == [
        "input.epoch >= 0.0",
        "input.epoch >= 2.0",
        "input.epoch >= 2.0",
    ]


async def test_a_driver_that_contradicts_its_log_is_not_tried_again(on_hatchet: Settings) -> None:
    drive_task = declare(Hatchet(config=client_config(on_hatchet)), CALLS)[1]
    recorder = Recorder(NonDeterminismError("task", 1, "recorded 5s, came 6s", 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            tasks,
            "_drive",
            lambda given, context, advance: recorder.aio_run(
                SliceInput(run_id=given.run_id, generation=0, number=0), child_key="slice-0"
            ),
        )
        with pytest.raises(NonRetryableException, match="recorded 5s"):
            await drive_task.tasks[0]._fn(DriverInput(run_id=uuid4(), generation=0), None)  # type: ignore[call-arg]


# What a slice does, and generations.


def slice_of(run_id: UUID, **more: Any) -> SliceInput:
    return SliceInput(**{"run_id": run_id, "generation": 0, "number": 0, **more})


async def test_a_slice_says_when_to_come_again(runtime: Runtime, clock: ManualClock) -> None:
    run_id = await enrolled(runtime)
    first = await slice_for_hatchet(runtime, slice_of(run_id))
    assert (first.state, first.seconds, first.at) == ("waiting", 86_400, clock.wall())
    (state,) = await rows(runtime, "SELECT epoch FROM journey_states")
    assert first.epoch == state.epoch
    clock.advance(days(1))
    assert (await slice_for_hatchet(runtime, slice_of(run_id))).seconds == 86_400
    clock.advance(days(1))
    assert (await slice_for_hatchet(runtime, slice_of(run_id))).state == "done"
    assert await journal(runtime) == [
        "send:welcome#1",
        "sleep:1d#1",
        "wait:activated#1",
        "checkpoint:after-wait#1",
        "send:nudge#1",
        "now:now#1",
        "send:bye#1",
    ]


async def test_two_deliveries_of_a_slice_do_not_end_the_driver(runtime: Runtime) -> None:
    run_id = await enrolled(runtime)
    both = await asyncio.gather(*(slice_for_hatchet(runtime, slice_of(run_id)) for _ in range(4)))
    assert {outcome.state for outcome in both} == {"waiting"}
    assert await slice_for_hatchet(runtime, slice_of(uuid4())) == SliceOutput(
        state="done", at=runtime.clock.wall()
    )


async def test_a_slice_waits_for_whoever_holds_the_run(runtime: Runtime, clock: ManualClock) -> None:
    run_id = await enrolled(runtime)
    stopped: list[str] = []

    def crash(point: str) -> None:
        if point == "after_claim" and not stopped:
            stopped.append(point)
            raise asyncio.CancelledError

    runtime.fault_point = crash
    with pytest.raises(asyncio.CancelledError):
        await advance(runtime, run_id, "elsewhere")
    assert (await slice_for_hatchet(runtime, slice_of(run_id))).seconds == 60
    clock.advance(timedelta(seconds=60))
    assert (await slice_for_hatchet(runtime, slice_of(run_id))).seconds == 86_400


async def test_a_driver_that_waits_for_a_dead_workers_lease_is_woken(runtime: Runtime) -> None:
    run_id = await enrolled(runtime)

    def die(point: str) -> None:
        raise Crashed(point)

    with watching(runtime, die), pytest.raises(Crashed):
        await advance(runtime, run_id, "a worker that is gone")
    waits = await slice_for_hatchet(runtime, slice_of(run_id))
    assert waits.seconds == 60
    await watchdog(runtime)
    (wake,) = await rows(runtime, "SELECT payload FROM outbox WHERE topic = 'run.wake'")
    assert wake.payload == {"run_id": str(run_id), "generation": 0, "reason": "its worker died"}
    await watchdog(runtime)
    assert len(await rows(runtime, "SELECT 1 FROM outbox WHERE topic = 'run.wake'")) == 1
    assert (await slice_for_hatchet(runtime, slice_of(run_id))).seconds == 86_400


@pytest.mark.parametrize(
    "more",
    [
        lambda clock: {"number": limits.MOST_TICKS},
        lambda clock: {"since": clock.wall() - limits.LONGEST_LIFE},
    ],
    ids=["long", "old"],
)
async def test_a_long_or_old_driver_hands_over_to_the_next_generation(
    runtime: Runtime, clock: ManualClock, more: Callable[[ManualClock], dict[str, Any]]
) -> None:
    run_id = await enrolled(runtime)
    outcome = await slice_for_hatchet(runtime, slice_of(run_id, **more(clock)))
    assert outcome.state == "superseded"
    assert await generation(runtime) == 1
    assert await starts(runtime) == [0, 1]
    again = await slice_for_hatchet(runtime, slice_of(run_id, **more(clock)))
    assert again.state == "superseded"
    assert await starts(runtime) == [0, 1]
    clock.advance(days(1))
    assert (await slice_for_hatchet(runtime, slice_of(run_id, generation=1))).state == "waiting"
    assert (await run_slice(runtime, run_id, 0)).state == "superseded"


async def test_an_ended_run_is_not_handed_over(runtime: Runtime) -> None:
    run_id = await enrolled(runtime)
    await send_event(runtime, "unsubscribed")
    assert (await slice_for_hatchet(runtime, slice_of(run_id, number=limits.MOST_TICKS))).state == "done"
    assert await generation(runtime) == 0


async def test_a_resumed_run_gets_a_driver_of_its_own(runtime: Runtime) -> None:
    run_id = await enrolled(runtime, "break")
    assert (await slice_for_hatchet(runtime, slice_of(run_id))).state == "done"
    assert await statuses(runtime) == ["failed"]
    async with runtime.database.transaction() as conn:
        await resume_in(conn, runtime, run_id)
    assert await starts(runtime) == [0, 1]
    assert (await run_slice(runtime, run_id, 0)).state == "superseded"
    assert (await run_slice(runtime, run_id, 1)).state == "done"
