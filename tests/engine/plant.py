"""An engine, a worker process on it, a Resend, and a runtime of the test's own that sees what they do.

Tests ask for a plant on each of `ENGINES`, or of `HATCHETS` where they are about Hatchet. A test that holds on each
engine holds wherever Hogsend runs; what only the stand-in for Hatchet can be told to do says so (`hatchet`).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
from hatchet_sdk.contracts.v1.workflows_pb2 import GetRunDetailsRequest

from hogsend.boot import open_runtime
from hogsend.clock import SystemClock
from hogsend.engine.hatchet.client import HatchetEngine
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from tests.driving import rows, send_event
from tests.engine.worker_process import ROOT, WorkerProcess, eventually
from tests.standins.hatchet import HatchetStandIn
from tests.standins.resend import API_KEY, ResendStandIn

A_DAY_A_SECOND = 86_400.0
TEMPLATES = ROOT / "tests" / "templates"
TOKEN = os.environ.get("HATCHET_CLIENT_TOKEN", "")

EMBEDDED = pytest.param("embedded", marks=pytest.mark.xdist_group("embedded"))
STANDIN = pytest.param("stand-in", marks=pytest.mark.xdist_group("stand-in"))
REAL = pytest.param(
    "real",
    marks=[
        pytest.mark.hatchet,
        pytest.mark.xdist_group("real"),
        pytest.mark.skipif(not TOKEN, reason="needs a Hatchet: set HATCHET_CLIENT_TOKEN"),
    ],
)
HATCHETS = [STANDIN, REAL]
# Hatchet's SDK takes seconds to start: the faults run on it in `make test-all`.
ENGINES = [EMBEDDED, *(pytest.param(*one.values, marks=[*one.marks, pytest.mark.slow]) for one in HATCHETS)]


@dataclass
class Plant:
    """What a test sees of it. Emails are told apart by the first word of their subject."""

    engine: str
    runtime: Runtime
    worker: WorkerProcess
    resend: ResendStandIn
    standin: HatchetStandIn | None
    environment: dict[str, str]
    _got: dict[str, list[str]] = field(default_factory=dict)

    @property
    def hatchet(self) -> HatchetStandIn:
        """The stand-in; on any other engine the test is skipped."""
        if self.standin is None:
            pytest.skip("only the stand-in for Hatchet misbehaves when told to")
        return self.standin

    def somebody(self) -> str:
        return f"{uuid4().hex[:12]}@example.com"

    def subjects(self, email: str) -> list[str]:
        return [sent.body["subject"].split()[0] for sent in self.resend.accepted if sent.to == email]

    def got(self, email: str, *subjects: str) -> None:
        """These emails and no others, now and when the plant is closed."""
        assert self.subjects(email) == list(subjects), self.told()
        self._got[email] = list(subjects)

    async def begin(self, event: str, email: str, **properties: Any) -> UUID:
        if not self.worker.lives:
            self.worker.start()
        return await self.enroll(event, email, **properties)

    async def enroll(self, event: str, email: str, **properties: Any) -> UUID:
        """Start a run, whether a worker is there or not."""
        (enrollment,) = (await send_event(self.runtime, event, email=email, **properties)).enrollments
        assert enrollment.state_id is not None
        return enrollment.state_id

    async def state(self, run_id: UUID) -> Any:
        (state,) = await rows(self.runtime, "SELECT * FROM journey_states WHERE id = :id", id=run_id)
        return state

    async def until(self, run_id: UUID, sql: str) -> None:
        """Wait until the run's row satisfies a condition."""
        await self.until_row(f"SELECT id FROM journey_states WHERE id = :id AND ({sql})", id=run_id)

    async def until_all(self, runs: Collection[UUID], sql: str, within: float = 60) -> None:
        """Wait until the row of each of them does."""
        query = (
            f"SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM journey_states WHERE id = ANY(:ids) AND NOT ({sql}))"
        )
        await self.until_row(query, within=within, ids=list(runs))

    async def until_row(self, query: str, within: float = 60, **values: Any) -> None:
        """Wait until the query finds something; a real engine may take its time."""
        deadline = time.monotonic() + within * (3 if self.engine == "real" else 1)
        while time.monotonic() < deadline:
            if await rows(self.runtime, query, **values):
                return
            assert not self.worker.fell, self.worker.output
            await asyncio.sleep(0.02)
        raise AssertionError(f"never: {query}\n{self.told()}")

    def told(self) -> str:
        """What Hatchet knows and what the worker wrote."""
        return f"{self.standin and self.standin.picture()}\n{self.worker.output}"

    async def settled(self) -> None:
        """Wait until no run is under way and a worker is there."""
        await self.staffed()
        await self.until_row(
            "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM journey_states WHERE lease_until IS NOT NULL)"
        )

    async def staffed(self, **environment: str) -> None:
        """Wait until a worker is there; start one, with more variables, where none is."""
        if not self.worker.lives:
            self.worker.start(**environment)
        await eventually(lambda: self.worker.works or self.worker.fell, within=60)
        assert not self.worker.fell, self.worker.output
        if self.standin is not None:
            await eventually(lambda: self.hatchet.workers)

    @contextmanager
    def odd_worker(self, **odd: str) -> Iterator[WorkerProcess]:
        """A worker beside the plant's own, with something wrong: see `tests.engine.odd_worker`."""
        worker = WorkerProcess({**self.environment, **odd}, "tests.engine.odd_worker")
        worker.start()
        try:
            yield worker
        finally:
            worker.close()

    async def until_parked(self, run_id: UUID, step: str) -> None:
        """Wait until the run is parked in a step, by its key."""
        await self.until_all_parked([run_id], step)

    async def until_all_parked(self, runs: Collection[UUID], step: str, within: float = 60) -> None:
        await self.until_all(
            runs,
            "status = 'waiting' AND EXISTS (SELECT 1 FROM journey_steps"
            f" WHERE state_id = journey_states.id AND key = '{step}' AND status = 'open')",
            within,
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
        mine = self.drivers(run_id)
        return mine[-1] if mine else None

    def drivers(self, run_id: UUID) -> list[Any]:
        return [run for run in self.hatchet.memory.of("journey-run") if run.input["run_id"] == str(run_id)]

    async def audit(self) -> None:
        """Nobody got an email twice, and the ledger has one verdict for each thing that happened once."""
        sends = Counter(sent.key for sent in self.resend.accepted)
        assert set(sends.values()) <= {1}
        twice = await rows(self.runtime, _TWICE)
        assert not twice, twice
        for email, subjects in self._got.items():
            assert self.subjects(email) == subjects, email


# One verdict for each of these; a run that an operator let go on ends again.
_TWICE = """
SELECT kind, coalesce(email_id, state_id, event_id) AS what, count(*) FROM decisions d
WHERE kind IN ('send', 'sent', 'send_failed', 'suppressed', 'enrolled', 'completed', 'exited')
   OR (kind IN ('failed', 'blocked') AND NOT EXISTS (
       SELECT 1 FROM decisions r WHERE r.state_id = d.state_id AND r.reason LIKE 'operator_%'))
GROUP BY kind, coalesce(email_id, state_id, event_id), CASE WHEN kind = 'enrolled' THEN journey_id END
HAVING count(*) > 1
"""


@asynccontextmanager
async def open_plant(
    engine: str,
    *,
    database_url: str,
    redis_url: str,
    journeys: Sequence[str],
    speed: float = A_DAY_A_SECOND,
    module: str = "worker",
) -> AsyncIterator[Plant]:
    """A plant on an empty, migrated database. Its worker is not started; at the end its books must balance."""
    async with AsyncExitStack() as stack:
        standin = stack.enter_context(HatchetStandIn()) if engine == "stand-in" else None
        environment = _way_to(engine, standin)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name in [name for name in os.environ if name.startswith("HATCHET_CLIENT_")]:
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        # This process stands for many: a hundred events at once are more than its pool on a slow machine.
        patch.setattr("hogsend.storage.database.POOL_SECONDS", 30.0)
        resend = await stack.enter_async_context(ResendStandIn(SystemClock()))
        settings = Settings(
            database_url=database_url,
            redis_url=redis_url,
            admin_api_key="test-admin-key-long-enough",
            ingest_rate_limit=1_000_000,
            email_provider="resend",
            resend_api_key=API_KEY,
            resend_api_url=resend.url,
            hatchet_client_token=environment.get("HATCHET_CLIENT_TOKEN"),
            journeys=list(journeys),
            templates=[TEMPLATES],
            speed=speed,
        )
        runtime = await stack.enter_async_context(open_runtime(settings))
        environment |= _as_environment(settings)
        worker = WorkerProcess(environment, module)
        stack.callback(worker.close)
        plant = Plant(engine, runtime, worker, resend, standin, environment)
        yield plant
        await plant.audit()


def _way_to(engine: str, standin: HatchetStandIn | None) -> dict[str, str]:
    """The variables that lead to the engine. On a real Hatchet, in a namespace of our own."""
    if standin is not None:
        return {"HATCHET_CLIENT_TOKEN": standin.token, "HATCHET_CLIENT_TLS_STRATEGY": "none"}
    if engine == "real":
        variables = {name: value for name, value in os.environ.items() if name.startswith("HATCHET_CLIENT_")}
        return {**variables, "HATCHET_CLIENT_NAMESPACE": f"test{uuid4().hex[:8]}"}
    return {}


def _as_environment(settings: Settings) -> dict[str, str]:
    return {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "RESEND_API_KEY": API_KEY,
        "RESEND_API_URL": settings.resend_api_url,
        "HOGSEND_JOURNEYS": ",".join(settings.journeys),
        "HOGSEND_TEMPLATES": str(TEMPLATES),
        "HOGSEND_SPEED": str(settings.speed),
        "HOGSEND_SECRET_KEY": settings.secret_key.get_secret_value(),
    }
