"""The worker on Hatchet, as a process on the real SDK: the same journeys, the same journal, each email once."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from hatchet_sdk.contracts.v1.workflows_pb2 import GetRunDetailsRequest

from hogsend import days
from hogsend.boot import open_runtime
from hogsend.clock import ManualClock, SystemClock
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.engine.hatchet.client import HatchetEngine
from hogsend.engine.outbox import enqueue_job
from hogsend.journeys.actions import cancel, resume_in
from hogsend.journeys.ticks import hand_over
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from tests.driving import drive_to_end, rows, send_event
from tests.engine.worker_process import ROOT, WorkerProcess, eventually
from tests.servers import create_database
from tests.standins.hatchet import HatchetStandIn
from tests.standins.http import Hold
from tests.standins.resend import API_KEY, ResendStandIn

pytestmark = pytest.mark.asyncio(loop_scope="module")

A_DAY_A_SECOND = 86_400.0
TEMPLATES = ROOT / "tests" / "templates"
REAL = os.environ.get("HATCHET_CLIENT_TOKEN", "")


@dataclass
class Plant:
    """A Hatchet, a worker on it, a Resend, and a runtime that sees what they do."""

    runtime: Runtime
    worker: WorkerProcess
    resend: ResendStandIn
    standin: HatchetStandIn | None

    @property
    def hatchet(self) -> HatchetStandIn:
        assert self.standin is not None
        return self.standin

    def somebody(self) -> str:
        return f"{uuid4().hex[:12]}@example.com"

    def subjects(self, email: str) -> list[str]:
        return [sent.body["subject"].split()[0] for sent in self.resend.accepted if sent.to == email]

    async def begin(self, event: str, email: str, **properties: Any) -> UUID:
        if not self.worker.lives:
            self.worker.start()
        (enrolment,) = (await send_event(self.runtime, event, email=email, **properties)).enrolments
        assert enrolment.state_id is not None
        return enrolment.state_id

    async def state(self, run_id: UUID) -> Any:
        (state,) = await rows(self.runtime, "SELECT * FROM journey_states WHERE id = :id", id=run_id)
        return state

    async def until(self, run_id: UUID, sql: str) -> None:
        """Wait until the run's row satisfies a condition."""
        await self.until_row(f"SELECT id FROM journey_states WHERE id = :id AND ({sql})", id=run_id)

    async def until_row(self, query: str, **values: Any) -> None:
        """Wait until the query finds something."""
        deadline = time.monotonic() + (60 if self.standin is not None else 180)
        while time.monotonic() < deadline:
            if await rows(self.runtime, query, **values):
                return
            assert self.worker.lives, self.worker.output
            await asyncio.sleep(0.01)
        raise AssertionError(f"never: {query}\n{self.told()}")

    def told(self) -> str:
        """What Hatchet knows and what the worker wrote."""
        return f"{self.standin and self.standin.picture()}\n{self.worker.output}"

    async def settled(self) -> None:
        """Wait until no run is under way and a worker is there."""
        if not self.worker.lives:
            self.worker.start()
        if self.standin is not None:
            await eventually(lambda: self.hatchet.workers)
        await self.until_row(
            "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM journey_states WHERE lease_until IS NOT NULL)"
        )

    async def until_parked(self, run_id: UUID, step: str) -> None:
        """Wait until the run is parked in a step, by its key."""
        await self.until(
            run_id,
            "status = 'waiting' AND EXISTS (SELECT 1 FROM journey_steps"
            f" WHERE state_id = journey_states.id AND key = '{step}' AND status = 'open')",
        )

    async def until_evicted(self, run_id: UUID) -> None:
        """Wait until the run's driver is out of the worker: the stand-in is told to, a real one does it soon."""
        if self.standin is not None:
            await eventually(lambda: self.driver(run_id).waits)
            self.standin.evict(self.driver(run_id).id)
            return
        assert isinstance(self.runtime.engine, HatchetEngine)
        request = GetRunDetailsRequest(external_id=(await self.state(run_id)).engine_run_id)
        for _ in range(1_000):
            if (await self.runtime.engine._call("admin", "GetRunDetails", request)).is_evicted:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(self.worker.output)

    def driver(self, run_id: UUID) -> Any:
        """The stand-in's run that drives this journey run now."""
        mine = [run for run in self.hatchet.memory.of("journey-run") if run.input["run_id"] == str(run_id)]
        return mine[-1] if mine else None


@pytest.fixture(
    scope="module",
    params=[
        "stand-in",
        pytest.param(
            "real",
            marks=[
                pytest.mark.hatchet,
                pytest.mark.skipif(not REAL, reason="needs a Hatchet: set HATCHET_CLIENT_TOKEN"),
            ],
        ),
    ],
)
def hatchet_environment(
    request: pytest.FixtureRequest,
) -> Iterator[tuple[HatchetStandIn | None, dict[str, str]]]:
    """Which Hatchet, and the variables that lead to it. On a real one, in a namespace of our own."""
    if request.param == "real":
        variables = {name: value for name, value in os.environ.items() if name.startswith("HATCHET_CLIENT_")}
        yield None, {**variables, "HATCHET_CLIENT_NAMESPACE": f"test{uuid4().hex[:8]}"}
    else:
        with HatchetStandIn() as standin:
            yield standin, {"HATCHET_CLIENT_TOKEN": standin.token, "HATCHET_CLIENT_TLS_STRATEGY": "none"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plant(
    hatchet_environment: tuple[HatchetStandIn | None, dict[str, str]], postgres_url: str, redis_url: str
) -> AsyncIterator[Plant]:
    standin, environment = hatchet_environment
    database_url = await create_database(postgres_url, f"hatchet_{uuid4().hex[:8]}")
    async with AsyncExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in environment.items():
            patch.setenv(name, value)
        resend = await stack.enter_async_context(ResendStandIn(SystemClock()))
        settings = Settings(
            database_url=database_url,
            redis_url=redis_url,
            email_provider="resend",
            resend_api_key=API_KEY,
            resend_api_url=resend.url,
            hatchet_client_token=environment["HATCHET_CLIENT_TOKEN"],
            journeys=["tests.engine.scripts"],
            templates=[TEMPLATES],
            speed=A_DAY_A_SECOND,
        )
        runtime = await stack.enter_async_context(open_runtime(settings))
        worker = WorkerProcess({**environment, **_as_environment(settings)})
        stack.callback(worker.close)
        worker.start()
        yield Plant(runtime, worker, resend, standin)


@pytest.fixture
def stood_in(plant: Plant) -> Plant:
    if plant.standin is None:
        pytest.skip("a real Hatchet does not misbehave when told to")
    return plant


def _as_environment(settings: Settings) -> dict[str, str]:
    return {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "RESEND_API_KEY": API_KEY,
        "RESEND_API_URL": settings.resend_api_url,
        "HOGSEND_JOURNEYS": "tests.engine.scripts",
        "HOGSEND_TEMPLATES": str(TEMPLATES),
        "HOGSEND_SPEED": str(settings.speed),
        "HOGSEND_SECRET_KEY": settings.secret_key.get_secret_value(),
    }


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
        (enrolment,) = (await send_event(embedded, "signup", email=ada, **properties)).enrolments
        await drive_to_end(embedded, clock, until=clock.now() + days(1))
        if event:
            await send_event(embedded, "activated", email=ada, plan="pro")
        await drive_to_end(embedded, clock)
        assert enrolment.state_id is not None
        assert await recorded(embedded, enrolment.state_id) == here
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
