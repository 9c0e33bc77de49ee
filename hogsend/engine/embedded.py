"""The embedded engine: asyncio workers over the rows themselves. `LISTEN` is the hint, a poll the truth."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy import select

from hogsend.engine.crons import Cron, run_cron
from hogsend.engine.jobs import Work, due_jobs, run_job
from hogsend.engine.liveness import sign_in
from hogsend.engine.port import EngineHealth
from hogsend.engine.publisher import Publisher
from hogsend.engine.tables import crons
from hogsend.runtime import Runtime

log = structlog.get_logger(__name__)

POLL = 1.0
HEARTBEAT = "heartbeat"
ALIVE_WITHIN = timedelta(seconds=20)

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
        async with self._runtime.database.read() as conn:
            seen = (
                await conn.execute(select(crons.c.last_run_at).where(crons.c.name == HEARTBEAT))
            ).scalar_one_or_none()
        latency = (time.perf_counter() - began) * 1000
        up = seen is not None and self._runtime.clock.wall() - seen < ALIVE_WITHIN
        return EngineHealth(
            "embedded", up, latency, "" if up else "no worker is running: start `hogsend worker`"
        )


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
        self._stopping = asyncio.Event()

    async def run(self, drain: timedelta = timedelta(seconds=25)) -> None:
        """Work until `stop`, then wait up to `drain` (real time) for what is under way."""
        loops = [
            asyncio.create_task(loop)
            for loop in (
                self._forever("listen", self._listen),
                self._forever("outbox", self._outbox_loop),
                self._forever("runs", self._runs_loop),
                self._forever("jobs", self._jobs_loop),
                self._forever("crons", self._crons_loop),
            )
        ]
        await self._stopping.wait()
        for task in loops:
            task.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=drain.total_seconds())
        for left in self._tasks:
            left.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def stop(self) -> None:
        self._stopping.set()

    async def _forever(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        """Run a loop again when a dependency failed under it; the poll makes up for what it missed."""
        while True:
            try:
                await loop()
            except Exception:
                log.warning("worker_loop_restarts", loop=name, exc_info=True)
                await asyncio.sleep(POLL)

    async def _listen(self) -> None:
        """Turn NOTIFYs into hints, on one connection of its own, which also shows that this worker lives."""
        hints = {"hogsend_outbox": self._engine.outbox, "hogsend_jobs": self._engine.jobs}
        async with self._runtime.database.engine.connect() as conn:
            raw = (await conn.get_raw_connection()).driver_connection
            if raw is None:
                return
            await sign_in(conn, self._runtime.owner)
            for channel, hint in hints.items():
                await raw.add_listener(channel, lambda *_args, hint=hint: hint.set())
            try:
                while True:
                    await asyncio.sleep(15)
                    await raw.execute("SELECT 1")
            finally:
                await conn.invalidate()

    async def _outbox_loop(self) -> None:
        while True:
            self._engine.outbox.clear()
            while await self._publisher.publish_due():
                pass
            await _hint_or(self._engine.outbox, POLL)

    async def _runs_loop(self) -> None:
        while True:
            self._engine.runs.clear()
            found = await self._due_runs(self._runtime.settings.worker_concurrency * 2)
            fresh = [run_id for run_id in found if ("run", run_id) not in self._busy]
            for run_id in fresh:
                await self._spawn("run", run_id, self._advance)
            if not fresh:
                ahead = await self._next_run()
                await _hint_or(self._engine.runs, POLL if ahead is None else max(0.01, min(POLL, ahead)))

    async def _jobs_loop(self) -> None:
        while True:
            self._engine.jobs.clear()
            fresh = [job for job in await due_jobs(self._runtime, 20) if ("job", job) not in self._busy]
            for job_id in fresh:
                await self._spawn("job", job_id, self._run_job)
            if not fresh:
                await _hint_or(self._engine.jobs, POLL)

    async def _crons_loop(self) -> None:
        while True:
            for cron in self._schedule:
                await run_cron(self._runtime, cron)
            await asyncio.sleep(POLL)

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


async def _hint_or(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
