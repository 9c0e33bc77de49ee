"""The embedded engine: asyncio workers over the rows themselves. `LISTEN` is the hint, a poll the truth."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from uuid import UUID

import structlog

from hogsend.engine.crons import Cron, worker_lives
from hogsend.engine.jobs import Work, due_jobs, run_job, seconds_to_next_job
from hogsend.engine.loops import Loop, drain, forever, hint_or_due, keep_time, listen, publish
from hogsend.engine.port import NO_WORKER, EngineHealth
from hogsend.engine.publisher import Publisher
from hogsend.runtime import Runtime
from hogsend.storage.stopping import stop

log = structlog.get_logger(__name__)

Advance = Callable[[UUID], Awaitable[object]]
DueRuns = Callable[[int], Awaitable[list[UUID]]]
NextRun = Callable[[], Awaitable[float | None]]


class EmbeddedEngine:
    """Hints for the worker of this process. In a process without one, the worker's own poll finds the work."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.runs = asyncio.Event()
        self.jobs = asyncio.Event()
        self.outbox = asyncio.Event()

    async def start_run(self, run_id: UUID, generation: int) -> str | None:
        self.runs.set()
        return None

    async def wake_run(self, run_id: UUID, generation: int, reason: str) -> None:
        self.runs.set()

    async def cancel_run(self, run_id: UUID, engine_run_id: str | None) -> bool:
        """A parked run is a row, so there is nothing to stop: its raised epoch did that."""
        return False

    async def enqueue(self, job_id: UUID) -> None:
        self.jobs.set()

    async def health(self) -> EngineHealth:
        """Up where a worker gave a sign of life within the last seconds."""
        began = time.perf_counter()
        up = await worker_lives(self._runtime)
        latency = (time.perf_counter() - began) * 1000
        return EngineHealth("embedded", up, latency, "" if up else NO_WORKER)


class EmbeddedWorker:
    """Drives due runs, jobs, crons and the outbox until it is told to stop; then lets what runs finish."""

    def __init__(
        self,
        runtime: Runtime,
        engine: EmbeddedEngine,
        publisher: Publisher,
        work: Work,
        schedule: Sequence[Cron],
        *,
        advance: Advance,
        due_runs: DueRuns,
        next_run: NextRun,
    ) -> None:
        self._runtime = runtime
        self._engine = engine
        self._publisher = publisher
        self._work = work
        self._schedule = schedule
        self._advance = advance
        self._due_runs = due_runs
        self._next_run = next_run
        self._slots = asyncio.Semaphore(runtime.settings.worker_concurrency)
        self._busy: set[tuple[str, UUID]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._written = asyncio.Event()
        self._stopping = asyncio.Event()

    async def run(self, within: timedelta = timedelta(seconds=25)) -> None:
        """Work until `stop`, then wait up to `within` (real time) for what is under way."""
        loops = [asyncio.create_task(forever(name, loop)) for name, loop in self._loops().items()]
        await self._stopping.wait()
        await stop(*loops)
        await drain(self._tasks, within)

    def stop(self) -> None:
        self._stopping.set()

    def _loops(self) -> dict[str, Loop]:
        # Whoever delivers a row of the outbox tells its own runs loop alone; the run is due for every worker.
        hints = {
            "hogsend_outbox": (self._engine.outbox, self._engine.runs, self._written),
            "hogsend_jobs": (self._engine.jobs,),
        }
        return {
            "listen": lambda: listen(self._runtime, hints),
            "outbox": lambda: publish(self._publisher, self._engine.outbox),
            "runs": self._runs_loop,
            "jobs": self._jobs_loop,
            "crons": lambda: keep_time(self._runtime, self._schedule, self._written),
        }

    async def _runs_loop(self) -> None:
        while True:
            self._engine.runs.clear()
            found = await self._due_runs(self._runtime.settings.worker_concurrency * 2)
            fresh = [run_id for run_id in found if ("run", run_id) not in self._busy]
            for run_id in fresh:
                await self._spawn("run", run_id, self._advance)
            if not fresh:
                await hint_or_due(self._engine.runs, await self._next_run())

    async def _jobs_loop(self) -> None:
        while True:
            self._engine.jobs.clear()
            fresh = [job for job in await due_jobs(self._runtime, 20) if ("job", job) not in self._busy]
            for job_id in fresh:
                await self._spawn("job", job_id, self._run_job)
            if not fresh:
                await hint_or_due(self._engine.jobs, await seconds_to_next_job(self._runtime))

    async def _run_job(self, job_id: UUID) -> None:
        await run_job(self._runtime, self._work, job_id, self._runtime.owner)

    async def _spawn(self, kind: str, id: UUID, work: Advance) -> None:
        await self._slots.acquire()
        self._busy.add((kind, id))
        task = asyncio.create_task(self._one(kind, id, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _one(self, kind: str, id: UUID, work: Advance) -> None:
        try:
            await work(id)
        except Exception:
            log.exception("work_failed", kind=kind, id=str(id))
        finally:
            self._busy.discard((kind, id))
            self._slots.release()
            (self._engine.runs if kind == "run" else self._engine.jobs).set()
