"""The worker on Hatchet, as a process on the real SDK: the same journeys, the same journal, each email once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from hogsend.boot import open_runtime
from hogsend.clock import SystemClock
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from tests.driving import rows, send_event
from tests.engine.worker_process import ROOT, WorkerProcess
from tests.servers import create_database
from tests.standins.hatchet import HatchetStandIn
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
    database_url: str
    names: int = field(default=0)

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
        query = f"SELECT id FROM journey_states WHERE id = :id AND ({sql})"
        for _ in range(3_000):
            if await rows(self.runtime, query, id=run_id):
                return
            assert self.worker.lives, self.worker.output
            await asyncio.sleep(0.01)
        raise AssertionError(f"{await self.state(run_id)}\n{self.worker.output}")

    async def until_parked(self, run_id: UUID, step: str) -> None:
        """Wait until the run is parked in a step, by its key."""
        await self.until(
            run_id,
            "status = 'waiting' AND EXISTS (SELECT 1 FROM journey_steps"
            f" WHERE state_id = journey_states.id AND key = '{step}' AND status = 'open')",
        )

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
        yield Plant(runtime, worker, resend, standin, database_url)


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


async def test_event(plant: Plant) -> None:
    ada = plant.somebody()
    run = await plant.begin("signup", ada, patience=300)
    await plant.until_parked(run, "wait:activated#1")
    await send_event(plant.runtime, "activated", email=ada, plan="pro")
    await plant.until(run, "status = 'completed'")
    assert plant.subjects(ada) == ["Welcome", "Congrats", "Bye"]
    print(plant.worker.output)
