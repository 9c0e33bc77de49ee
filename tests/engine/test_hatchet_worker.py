"""The worker on Hatchet, as a process on the real SDK: the same journeys, the same journal, each email once."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from hogsend import days
from hogsend.boot import open_runtime
from hogsend.clock import ManualClock
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.engine.outbox import enqueue_job
from hogsend.execution.external_engine import hand_over
from hogsend.operations.cancel import cancel
from hogsend.operations.stuck_runs import resume_in
from hogsend.runtime import Runtime
from tests.driving import drive_to_end, rows, send_event
from tests.engine.plant import HATCHETS, Plant, open_plant
from tests.engine.worker_process import eventually
from tests.servers import create_database
from tests.standins.http import Hold

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=HATCHETS)
async def plant(request: pytest.FixtureRequest, postgres_url: str, redis_url: str) -> AsyncIterator[Plant]:
    database_url = await create_database(postgres_url, f"hatchet_{uuid4().hex[:8]}")
    async with open_plant(
        request.param, database_url=database_url, redis_url=redis_url, journeys=["tests.engine.scripts"]
    ) as plant:
        plant.worker.start()
        yield plant


@pytest.fixture
def stood_in(plant: Plant) -> Plant:
    if plant.standin is None:
        pytest.skip("a real Hatchet does not misbehave when told to")
    return plant


@pytest.mark.parametrize("event", [True, False], ids=["event", "timeout"])
async def test_both_engines_write_the_same_journal(plant: Plant, postgres_url: str, event: bool) -> None:
    ada = plant.somebody()
    run = await plant.begin("signup", ada, patience=300 if event else 1)
    if event:
        await plant.until_parked(run, "wait:activated#1")
        await send_event(plant.runtime, "activated", email=ada, plan="pro")
    await plant.until(run, "status = 'completed'")
    assert plant.subjects(ada) == ["Welcome", "Congrats" if event else "Nudge", "Bye"]
    assert (await plant.state(run)).engine_run_id
    here = await recorded(plant.runtime, run)

    elsewhere = await create_database(postgres_url, f"embedded_{uuid4().hex[:8]}")
    settings = plant.runtime.settings.model_copy(
        update={"database_url": elsewhere, "hatchet_client_token": None}
    )
    settings.__dict__.pop("sqlalchemy_url", None)
    clock, provider = ManualClock(), MemoryProvider()
    async with open_runtime(settings, clock=clock, provider=provider) as embedded:
        properties = {"patience": 300 if event else 1}
        (enrollment,) = (await send_event(embedded, "signup", email=ada, **properties)).enrollments
        await drive_to_end(embedded, clock, until=clock.now() + days(1))
        if event:
            await send_event(embedded, "activated", email=ada, plan="pro")
        await drive_to_end(embedded, clock)
        assert enrollment.state_id is not None
        assert await recorded(embedded, enrollment.state_id) == here
        assert [message.subject.split()[0] for message in provider.to(ada)] == plant.subjects(ada)
    assert len(here) == 7


async def recorded(runtime: Runtime, run_id: UUID) -> list[tuple[Any, ...]]:
    """The journal of a run, with ids, positions and times taken out."""
    steps = await rows(
        runtime,
        "SELECT key, kind, label, fingerprint, status, args, result FROM journey_steps"
        " WHERE state_id = :id ORDER BY seq",
        id=run_id,
    )
    return [
        (s.key, s.kind, s.label, s.fingerprint, s.status, _plain(s.args), _plain(s.result)) for s in steps
    ]


def _plain(value: Any) -> str:
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|(?<='seq': )\d+", "<id>", repr(value))
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.+Z]+", "<time>", text)


@pytest.mark.slow
async def test_an_exit_ends_a_sleeping_run(plant: Plant) -> None:
    ada = plant.somebody()
    run = await plant.begin("signup", ada, patience=300)
    await plant.until_parked(run, "wait:activated#1")
    await send_event(plant.runtime, "unsubscribed", email=ada)
    await plant.until(run, "status = 'exited'")
    assert plant.subjects(ada) == ["Welcome"]
    if plant.standin is not None:
        await eventually(lambda: not plant.driver(run).alive)


async def test_a_cancel_is_one_in_hatchet_too(plant: Plant) -> None:
    ada = plant.somebody()
    run = await plant.begin("signup", ada, patience=300)
    await plant.until_parked(run, "wait:activated#1")
    cancelled = await cancel(plant.runtime, run)
    assert cancelled.in_engine is True
    assert (await plant.state(run)).status == "exited"


async def test_a_failed_run_goes_on_when_an_operator_resumes_it(plant: Plant) -> None:
    run = await plant.begin("break", plant.somebody())
    await plant.until(run, "status = 'failed'")
    async with plant.runtime.database.transaction() as conn:
        await resume_in(conn, plant.runtime, run)
    await plant.until(run, "generation = 1 AND status = 'failed' AND error LIKE '%plan%'")


async def test_a_job_runs_and_a_delayed_one_later(plant: Plant) -> None:
    async with plant.runtime.database.transaction() as conn:
        ids = [
            await enqueue_job(conn, plant.runtime.clock, "unheard-of", {}, max_attempts=1, delay=delay)
            for delay in (timedelta(0), timedelta(milliseconds=200))
        ]
    for job_id in ids:
        await plant.until_row("SELECT id FROM jobs WHERE id = :id AND status = 'dead'", id=job_id)


async def test_a_run_has_one_driver(plant: Plant) -> None:
    run = await plant.begin("signup", plant.somebody(), patience=300)
    await plant.until_parked(run, "wait:activated#1")
    known = (await plant.state(run)).engine_run_id
    assert await plant.runtime.engine.start_run(run, 0) == known
    assert await plant.runtime.engine.start_run(run, 1) != known


@pytest.mark.slow
async def test_a_waiting_run_is_handed_over(plant: Plant) -> None:
    ada = plant.somebody()
    run = await plant.begin("signup", ada, patience=300)
    await plant.until_parked(run, "wait:activated#1")
    first = (await plant.state(run)).engine_run_id
    async with plant.runtime.database.transaction() as conn:
        assert await hand_over(conn, plant.runtime, run, 0)
    await plant.until(run, f"engine_run_id <> '{first}'")
    await send_event(plant.runtime, "activated", email=ada)
    await plant.until(run, "status = 'completed' AND generation = 1")
    assert plant.subjects(ada) == ["Welcome", "Congrats", "Bye"]


@pytest.mark.slow
async def test_an_evicted_driver_comes_back(plant: Plant) -> None:
    ada = plant.somebody()
    run = await plant.begin("signup", ada, patience=300)
    await plant.until_parked(run, "wait:activated#1")
    await plant.until_evicted(run)
    await send_event(plant.runtime, "activated", email=ada)
    await plant.until(run, "status = 'completed'")
    assert plant.subjects(ada) == ["Welcome", "Congrats", "Bye"]
    if plant.standin is not None:
        driver = plant.driver(run)
        await eventually(lambda: driver.status == "completed")
        assert (driver.evictions, driver.restores) == (1, 1)


# What only the stand-in can be told to do.


async def test_everything_delivered_twice_is_done_once(stood_in: Plant) -> None:
    plant = stood_in
    plant.hatchet.deliver_twice = True
    try:
        people = [plant.somebody() for _ in range(5)]
        runs = [await plant.begin("ping", email) for email in people]
        for run in runs:
            await plant.until(run, "status = 'completed'")
    finally:
        plant.hatchet.deliver_twice = False
    assert [plant.subjects(email) for email in people] == [["Welcome"]] * 5


@pytest.mark.slow
async def test_a_driver_that_hatchet_forgot_is_brought_back(stood_in: Plant) -> None:
    """Its wait ended in the moment of its eviction, as was seen on a real one."""
    plant = stood_in
    ada = plant.somebody()
    run = await plant.begin("signup", ada, patience=300)
    await plant.until_parked(run, "wait:activated#1")
    await plant.until_evicted(run)
    plant.driver(run).log[plant.driver(run).cursor].done = True
    await send_event(plant.runtime, "activated", email=ada)
    await plant.until_row(
        "SELECT id FROM outbox WHERE topic = 'run.wake' AND payload->>'run_id' = :id AND published_at IS NOT NULL",
        id=str(run),
    )
    assert (await plant.state(run)).status == "waiting"
    await plant.runtime.engine.start_run(run, 0)
    await plant.until(run, "status = 'completed'")


@pytest.mark.slow
async def test_hatchet_goes_down_and_comes_up(stood_in: Plant) -> None:
    plant = stood_in
    early, late = plant.somebody(), plant.somebody()
    parked = await plant.begin("signup", early, patience=300)
    await plant.until_parked(parked, "wait:activated#1")
    await eventually(lambda: plant.driver(parked).waits)
    plant.hatchet.down()
    await send_event(plant.runtime, "activated", email=early)
    started = await plant.begin("ping", late)
    await plant.until_row(
        "SELECT id FROM outbox WHERE topic = 'run.start' AND attempts > 0 AND published_at IS NULL"
    )
    plant.hatchet.up()
    for run in (parked, started):
        await plant.until(run, "status = 'completed'")
    assert plant.subjects(early) == ["Welcome", "Congrats", "Bye"]
    assert plant.subjects(late) == ["Welcome"]


# The worker ends, one way and the other. Last, because they do.


@pytest.mark.slow
async def test_a_worker_that_is_killed_in_the_middle_of_a_send(plant: Plant) -> None:
    ada = plant.somebody()
    await plant.settled()
    plant.resend.faults.append(Hold())
    run = await plant.begin("ping", ada)
    await eventually(lambda: plant.subjects(ada))
    plant.worker.kill()
    plant.worker.start()
    await plant.until(run, "status = 'completed'")
    assert plant.subjects(ada) == ["Welcome"]
    (send,) = await rows(
        plant.runtime, "SELECT status, attempts FROM email_sends WHERE state_id = :id", id=run
    )
    assert (send.status, send.attempts) == ("sent", 2)


@pytest.mark.slow
async def test_a_driver_that_went_down_with_its_worker_is_replaced_within_a_minute(stood_in: Plant) -> None:
    """Hatchet takes it for running, as was seen on a real one: eight minutes were too long."""
    plant = stood_in
    await plant.settled()
    ada = plant.somebody()
    run = await plant.begin("signup", ada, patience=300)
    await plant.until_parked(run, "wait:activated#1")
    await eventually(lambda: plant.driver(run).waits)
    plant.hatchet.notices_deaths = False
    try:
        plant.worker.kill()
        await send_event(plant.runtime, "activated", email=ada)
        await plant.staffed()
        await plant.until(run, "status = 'completed' AND generation = 1")
    finally:
        plant.hatchet.notices_deaths = True
    assert plant.subjects(ada) == ["Welcome", "Congrats", "Bye"]


@pytest.mark.slow
async def test_sigterm_puts_drivers_back_and_ends_in_peace(plant: Plant) -> None:
    ada = plant.somebody()
    await plant.settled()
    run = await plant.begin("signup", ada, patience=300)
    await plant.until_parked(run, "sleep:1d#1")
    assert await plant.worker.stop() == 0, plant.told()
    assert (await plant.state(run)).lease_owner is None
    if plant.standin is not None:
        assert plant.driver(run).status in ("evicted", "queued")
    else:
        plant.worker.start()
        await send_event(plant.runtime, "activated", email=ada)
        await plant.until(run, "status = 'completed'")
