"""The engine port on Hatchet: what each call does there, and what happens while Hatchet is down."""

from __future__ import annotations

import time
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hatchet_sdk import Hatchet
from sqlalchemy import update

from hogsend.boot import open_runtime
from hogsend.clock import ManualClock
from hogsend.engine.crons import run_cron
from hogsend.engine.hatchet import limits
from hogsend.engine.hatchet.client import HatchetEngine, client_config
from hogsend.engine.hatchet.tasks import declare
from hogsend.engine.port import EngineDown
from hogsend.engine.publisher import Publisher, retry_now
from hogsend.execution.due_runs import note_engine_run
from hogsend.journeys.registry import Registry
from hogsend.operations.cancel import cancel
from hogsend.runtime import Runtime
from hogsend.settings import Settings, SettingsError
from hogsend.tables.journeys import journey_states
from tests.driving import rows, send_event, statuses
from tests.standins import hatchet_services
from tests.standins.hatchet import HatchetStandIn
from worker.hatchet import CALLS, until_hatchet_answers
from worker.work import SCHEDULE


@pytest.fixture(autouse=True)
def registered(hatchet: HatchetStandIn, on_hatchet: Settings) -> None:
    """A worker was here, so that Hatchet knows our tasks; none is there now."""
    for task in declare(Hatchet(config=client_config(on_hatchet)), CALLS):
        hatchet.memory.workflows[task.name] = task.to_proto()


def publisher(runtime: Runtime) -> Publisher:
    return Publisher(runtime, runtime.engine, note_run=note_engine_run)


async def enrolled(runtime: Runtime) -> UUID:
    (enrollment,) = (await send_event(runtime, "signup")).enrollments
    assert enrollment.state_id is not None
    return enrollment.state_id


async def test_a_run_has_one_driver_a_generation(runtime: Runtime, hatchet: HatchetStandIn) -> None:
    run_id = uuid4()
    first = await runtime.engine.start_run(run_id, 0)
    assert await runtime.engine.start_run(run_id, 0) == first
    assert await runtime.engine.start_run(run_id, 1) != first
    assert [run.input for run in hatchet.memory.of(limits.RUN)] == [
        {"run_id": str(run_id), "generation": 0},
        {"run_id": str(run_id), "generation": 1},
    ]


async def test_a_driver_that_died_is_replaced(runtime: Runtime, hatchet: HatchetStandIn) -> None:
    run_id = uuid4()
    first = await runtime.engine.start_run(run_id, 0)
    hatchet.memory.runs[str(first)].status = "failed"
    assert await runtime.engine.start_run(run_id, 0) != first


async def test_the_outbox_starts_a_run_and_keeps_its_id(runtime: Runtime, hatchet: HatchetStandIn) -> None:
    run_id = await enrolled(runtime)
    assert await publisher(runtime).publish_due() > 0
    (driver,) = hatchet.memory.of(limits.RUN)
    assert driver.input == {"run_id": str(run_id), "generation": 0}
    (state,) = await rows(runtime, "SELECT engine_run_id FROM journey_states")
    assert state.engine_run_id == driver.id


async def test_a_wake_up_carries_the_epoch_and_nothing_personal(
    runtime: Runtime, hatchet: HatchetStandIn
) -> None:
    run_id = await enrolled(runtime)
    async with runtime.database.transaction() as conn:
        await conn.execute(update(journey_states).values(epoch=7))
    await runtime.engine.wake_run(run_id, 0, "event activated")
    (event,) = hatchet.memory.events
    assert (event.key, event.scope) == (limits.WAKE, str(run_id))
    assert event.payload == {"run_id": str(run_id), "epoch": 7, "reason": "event activated"}


async def test_a_job_is_queued_once_until_it_ran(runtime: Runtime, hatchet: HatchetStandIn) -> None:
    job_id = uuid4()
    await runtime.engine.enqueue(job_id)
    await runtime.engine.enqueue(job_id)
    (queued,) = hatchet.memory.of(limits.JOB)
    queued.status = "completed"
    await runtime.engine.enqueue(job_id)
    assert len(hatchet.memory.of(limits.JOB)) == 2


async def test_cancelled_is_said_only_of_what_hatchet_cancelled(
    runtime: Runtime, hatchet: HatchetStandIn
) -> None:
    run_id = uuid4()
    driver = await runtime.engine.start_run(run_id, 0)
    assert await runtime.engine.cancel_run(run_id, None) is False
    assert await runtime.engine.cancel_run(run_id, str(uuid4())) is False
    assert await runtime.engine.cancel_run(run_id, driver) is True
    assert hatchet.memory.runs[str(driver)].status == "cancelled"
    done = await runtime.engine.start_run(run_id, 0)
    hatchet.memory.runs[str(done)].status = "completed"
    assert await runtime.engine.cancel_run(run_id, done) is False


async def test_a_cancel_that_hatchet_only_acknowledges_is_not_one(
    runtime: Runtime, hatchet: HatchetStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hogsend.engine.hatchet.client.CANCEL_SEEN_WITHIN", 0.2)
    hatchet.obeys_cancel = False
    run_id = uuid4()
    driver = await runtime.engine.start_run(run_id, 0)
    assert await runtime.engine.cancel_run(run_id, driver) is False


async def test_an_operators_cancel_reaches_hatchet(runtime: Runtime, hatchet: HatchetStandIn) -> None:
    run_id = await enrolled(runtime)
    await publisher(runtime).publish_due()
    assert (await cancel(runtime, run_id)).in_engine is True
    assert [run.status for run in hatchet.memory.of(limits.RUN)] == ["cancelled"]
    await publisher(runtime).publish_due()
    assert await statuses(runtime) == ["exited"]


async def test_down_is_said_fast_and_then_at_once(runtime: Runtime, hatchet: HatchetStandIn) -> None:
    hatchet.down()
    began = time.monotonic()
    with pytest.raises(EngineDown):
        await runtime.engine.start_run(uuid4(), 0)
    assert time.monotonic() - began < limits.CALL_TIMEOUT + 1
    again = time.monotonic()
    for _ in range(100):
        with pytest.raises(EngineDown):
            await runtime.engine.enqueue(uuid4())
    assert time.monotonic() - again < 0.5
    assert await runtime.engine.cancel_run(uuid4(), str(uuid4())) is False


async def test_what_failed_while_hatchet_was_down_is_delivered_when_it_is_back(
    runtime: Runtime, hatchet: HatchetStandIn, clock: ManualClock
) -> None:
    hatchet.down()
    run_id = await enrolled(runtime)
    assert await publisher(runtime).publish_due() == 1
    assert await publisher(runtime).publish_due() == 0
    (row,) = await rows(runtime, "SELECT attempts, error, published_at FROM outbox WHERE topic = 'run.start'")
    assert (row.attempts, row.published_at) == (1, None)
    assert row.error.startswith("EngineDown")
    hatchet.up()
    assert (await runtime.engine.health()).detail.startswith("no worker is running")
    assert await retry_now(runtime) == 1
    await publisher(runtime).publish_due()
    assert [run.input["run_id"] for run in hatchet.memory.of(limits.RUN)] == [str(run_id)]


async def test_health(runtime: Runtime, hatchet: HatchetStandIn, clock: ManualClock) -> None:
    heartbeat = next(cron for cron in SCHEDULE if cron.name == "heartbeat")
    assert await run_cron(runtime, heartbeat)
    up = await runtime.engine.health()
    assert (up.name, up.up, up.detail) == ("hatchet", True, "")
    assert up.latency_ms > 0
    clock.advance(timedelta(minutes=1))
    silent = await runtime.engine.health()
    assert (silent.up, silent.detail) == (False, "no worker is running: start `hogsend worker`")
    hatchet.down()
    down = await runtime.engine.health()
    assert (down.up, down.detail) == (False, f"Hatchet does not answer at 127.0.0.1:{hatchet.port}")


@pytest.mark.parametrize(
    ("version", "trouble"),
    [
        ("v0.98.8", "Hatchet v0.98.8 is too old: update it to v0.98.9 or newer"),
        ("3f2a1b", "Hatchet tells '3f2a1b' as its version, not a number: v0.98.9 or newer is needed"),
    ],
)
async def test_a_hatchet_that_cannot_be_used_is_said_and_no_worker_begins_on_it(
    runtime: Runtime,
    hatchet: HatchetStandIn,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    trouble: str,
) -> None:
    monkeypatch.setattr(hatchet_services, "VERSION", version)
    health = await runtime.engine.health()
    assert (health.up, health.detail) == (False, trouble)
    settings = runtime.settings.model_copy(update={"journeys": ["tests.engine.scripts"]})
    with pytest.raises(SettingsError, match="Hatchet"):
        await until_hatchet_answers(settings)


async def test_a_token_that_hatchet_refuses_is_said_and_not_told(
    runtime: Runtime, hatchet: HatchetStandIn
) -> None:
    assert isinstance(runtime.engine, HatchetEngine)
    runtime.engine._auth = [("authorization", "Bearer of-another-hatchet")]
    health = await runtime.engine.health()
    assert (health.up, health.detail) == (
        False,
        "Hatchet refuses HATCHET_CLIENT_TOKEN: make a new one there",
    )


async def test_a_token_that_is_none_is_a_sentence(on_hatchet: Settings) -> None:
    broken = Settings.model_validate({**on_hatchet.model_dump(), "hatchet_client_token": "eyJ-not-whole"})
    with pytest.raises(SettingsError, match="HATCHET_CLIENT_TOKEN") as error:
        async with open_runtime(broken, registry=Registry()):
            pass
    assert "eyJ-not-whole" not in str(error.value)
