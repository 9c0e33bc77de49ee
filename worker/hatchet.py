"""The worker on Hatchet. Its tasks run in the SDK's worker; what Hatchet cannot time runs beside them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator, Callable
from datetime import timedelta
from types import FrameType
from typing import Any
from uuid import UUID

import structlog
from hatchet_sdk import Hatchet

from hogsend.boot import open_runtime
from hogsend.engine.hatchet import limits
from hogsend.engine.hatchet.client import HatchetEngine, client_config, whole_seconds
from hogsend.engine.hatchet.tasks import Calls, SliceInput, SliceOutput, cron_expression, declare
from hogsend.engine.jobs import due_jobs, run_job
from hogsend.engine.loops import Loop, forever, keep_time, listen, publish
from hogsend.engine.port import EngineDown
from hogsend.engine.publisher import Publisher, retry_now
from hogsend.execution.due_runs import note_engine_run
from hogsend.execution.external_engine import hand_over, note_driver, run_slice
from hogsend.monitoring.probes import monitored
from hogsend.operations.deploy_check import warn_of_breaking
from hogsend.runtime import Runtime
from hogsend.settings import Settings, SettingsError
from worker.hatchet_quiet import quiet
from worker.work import SCHEDULE, WORK

log = structlog.get_logger(__name__)

DRAIN = timedelta(seconds=25)
PUT_BACK = 0.5
PROBE = 2.0
JOB_LATE = timedelta(seconds=1)
ASK_JOBS = 1.0
ASK_AGAIN = 5.0


async def slice_for_hatchet(runtime: Runtime, given: SliceInput) -> SliceOutput:
    """One slice of a run; a driver that is long or old is superseded by a fresh one."""
    began = runtime.clock.wall()
    stands = await run_slice(runtime, given.run_id, given.generation)
    runtime.fault_point("after_slice")
    age = began - (given.since or began)
    if stands.state == "waiting" and (given.number >= limits.MOST_TICKS or age >= limits.LONGEST_LIFE):
        async with runtime.database.transaction() as conn:
            await hand_over(conn, runtime, given.run_id, given.generation)
        return SliceOutput(state="superseded", at=began)
    return SliceOutput(state=stands.state, seconds=whole_seconds(stands.wait), epoch=stands.epoch, at=began)


async def run_one_job(runtime: Runtime, job_id: UUID) -> None:
    await run_job(runtime, WORK, job_id, runtime.owner)


CALLS = Calls(slice=slice_for_hatchet, driver_came=note_driver, job=run_one_job, crons=SCHEDULE)
BESIDE = tuple(cron for cron in SCHEDULE if cron_expression(cron.every) is None)
"""The crons that Hatchet cannot time: below a minute, mostly."""


class HatchetWorker:
    """One life of the worker process. Ends with exit code 1 where it should be started again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._hatchet = Hatchet(config=quiet(client_config(settings)))
        self._worker = self._hatchet.worker(
            "hogsend",
            slots=settings.worker_concurrency,
            durable_slots=limits.DRIVER_SLOTS,
            workflows=declare(self._hatchet, CALLS),
            lifespan=self._lifespan,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False
        self._ending: asyncio.Task[None] | None = None
        self._draining: asyncio.Task[None] | None = None
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._on_signal(signal.getsignal(signum)))

    def run(self) -> None:
        """Work until SIGTERM or SIGINT, then finish what is under way, at most `DRAIN`."""
        try:
            self._worker.start()
        finally:
            log.info("worker_stopped")
            if not self._stopped:
                raise SystemExit(1)

    def _on_signal(self, of_sdk: Any) -> Callable[[int, FrameType | None], None]:
        def handle(signum: int, frame: FrameType | None) -> None:
            if not self._stopped and self._loop is not None:
                self._loop.call_soon_threadsafe(self._begin_to_drain)
            self._stopped = True
            of_sdk(signum, frame)

        return handle

    def _begin_to_drain(self) -> None:
        """The SDK drains for as long as it takes; at the second signal it ends at once. We send that one."""
        assert self._loop is not None
        self._loop.call_later(DRAIN.total_seconds(), os.kill, os.getpid(), signal.SIGTERM)
        runner = self._worker._action_runner
        if runner is None:
            return
        put_back_once = runner.evict_all_waiting_durable_runs

        async def put_back() -> None:
            await put_back_once()
            self._draining = asyncio.create_task(self._put_back_later_ones(put_back_once))

        # Two at a time would wait for each other, so ours begins where the SDK's has ended.
        runner.evict_all_waiting_durable_runs = put_back  # type: ignore[method-assign]

    async def _put_back_later_ones(self, put_back_once: Loop) -> None:
        """The SDK puts drivers back once. One whose slice ends after that comes to wait, perhaps for months."""
        while True:
            await asyncio.sleep(PUT_BACK)
            await put_back_once()

    async def _lifespan(self) -> AsyncGenerator[Runtime, None]:
        self._loop = asyncio.get_running_loop()
        port = self._settings.worker_metrics_port
        async with (
            open_runtime(self._settings, application="hogsend-worker") as runtime,
            monitored(runtime, port, "HOGSEND_WORKER_METRICS_PORT"),
        ):
            assert isinstance(runtime.engine, HatchetEngine)
            beside: list[asyncio.Task[Any]] = [
                asyncio.create_task(forever(name, loop))
                for name, loop in self._beside(runtime, runtime.engine).items()
            ]
            log.info("worker_started", engine="hatchet", journeys=[j.id for j in runtime.registry.all()])
            try:
                yield runtime
            finally:
                await self._until_drained()
                if self._draining is not None:
                    beside.append(self._draining)
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)

    async def _until_drained(self) -> None:
        """The SDK ends the lifespan at the first moment without a task, though more may come until it is deaf."""
        runner = self._worker._action_runner
        while runner is not None and not runner.killing:  # noqa: ASYNC110  The SDK sets a flag and tells nobody.
            await asyncio.sleep(0.1)

    def _beside(self, runtime: Runtime, engine: HatchetEngine) -> dict[str, Loop]:
        written, for_crons = asyncio.Event(), asyncio.Event()
        publisher = Publisher(runtime, engine, note_run=note_engine_run)
        return {
            "listen": lambda: listen(runtime, {"hogsend_outbox": (written, for_crons)}),
            "outbox": lambda: publish(publisher, written),
            "crons": lambda: keep_time(runtime, BESIDE, for_crons),
            "jobs": lambda: feed_jobs(runtime, engine),
            "outages": lambda: self._watch_outages(runtime, engine, written),
        }

    async def _watch_outages(self, runtime: Runtime, engine: HatchetEngine, written: asyncio.Event) -> None:
        """When Hatchet is back, deliver at once what failed meanwhile; after a long outage, begin anew."""
        gone_since: float | None = time.monotonic()
        while True:
            now = time.monotonic()
            if not await engine.answers():
                gone_since = now if gone_since is None else gone_since
            elif gone_since is not None:
                log.info("hatchet_answers", rows=await retry_now(runtime))
                written.set()
                if now - gone_since > limits.LISTENER_GIVES_UP.total_seconds():
                    log.warning("worker_ends_to_listen_anew", outage_seconds=round(now - gone_since))
                    self._ending = asyncio.create_task(self._worker.exit_gracefully())
                gone_since = None
            await asyncio.sleep(PROBE)


async def feed_jobs(runtime: Runtime, engine: HatchetEngine) -> None:
    """Queue jobs that are due and that the outbox did not just bring: retries, delayed ones, those of the dead."""
    asked: dict[UUID, float] = {}
    while True:
        now = time.monotonic()
        asked = {job_id: at for job_id, at in asked.items() if now - at < ASK_AGAIN}
        try:
            for job_id in await due_jobs(runtime, 100, late=JOB_LATE):
                if job_id not in asked:
                    await engine.enqueue(job_id)
                    asked[job_id] = now
        except EngineDown as error:
            log.warning("jobs_wait", error=str(error))
        await asyncio.sleep(ASK_JOBS)


def run(settings: Settings) -> None:
    """Run the worker of this process to its end."""
    if asyncio.run(until_hatchet_answers(settings)):
        HatchetWorker(settings).run()


async def until_hatchet_answers(settings: Settings) -> bool:
    """The SDK's worker ends where Hatchet does not answer at once. False where we are asked to stop meanwhile.

    Raises `SettingsError` where it answers and cannot be used.
    """
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    async with open_runtime(settings, application="hogsend-worker") as runtime:
        assert isinstance(runtime.engine, HatchetEngine)
        await warn_of_breaking(runtime)
        pause = 0.5
        while not stop.is_set() and not await runtime.engine.answers() and runtime.engine.trouble is None:
            log.warning("hatchet_does_not_answer", again_in_seconds=pause)
            try:
                await asyncio.wait_for(stop.wait(), pause)
            except TimeoutError:
                pause = min(pause * 2, 10.0)
        if runtime.engine.trouble is not None:
            raise SettingsError([runtime.engine.trouble])
    return not stop.is_set()
