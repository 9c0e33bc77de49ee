"""The worker process: it puts an engine together, starts it, and drains it on SIGTERM."""

from __future__ import annotations

import asyncio
import signal
from uuid import UUID

import structlog

from hogsend.boot import open_runtime, warn_of_unsent_email
from hogsend.engine.embedded import EmbeddedEngine, EmbeddedWorker
from hogsend.engine.publisher import Publisher
from hogsend.execution.advance import advance
from hogsend.execution.due_runs import due_runs, note_engine_run, seconds_to_next_run
from hogsend.monitoring.probes import monitored
from hogsend.operations.deploy_check import warn_of_breaking
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from worker.work import SCHEDULE, WORK

log = structlog.get_logger(__name__)


def embedded_worker(runtime: Runtime) -> EmbeddedWorker:
    """A worker on the embedded engine, ready to run."""
    engine = EmbeddedEngine(runtime)
    runtime.engine = engine

    async def advance_run(run_id: UUID) -> object:
        return await advance(runtime, run_id, runtime.owner)

    return EmbeddedWorker(
        runtime,
        engine,
        Publisher(runtime, engine, note_run=note_engine_run),
        WORK,
        SCHEDULE,
        advance=advance_run,
        due_runs=lambda limit: due_runs(runtime, limit),
        next_run=lambda: seconds_to_next_run(runtime),
    )


async def serve(settings: Settings) -> None:
    """The embedded engine's worker: work until SIGTERM or SIGINT, then finish what is under way."""
    async with open_runtime(settings, application="hogsend-worker") as runtime:
        worker = embedded_worker(runtime)
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, worker.stop)
        log.info("worker_started", engine=settings.engine, journeys=[j.id for j in runtime.registry.all()])
        await warn_of_breaking(runtime)
        async with monitored(runtime, settings.worker_metrics_port, "HOGSEND_WORKER_METRICS_PORT"):
            await worker.run()
        log.info("worker_stopped")


def run(settings: Settings) -> None:
    """Run the worker of this process to its end, on the engine that the settings name."""
    warn_of_unsent_email(settings)
    if settings.engine == "hatchet":
        from worker import hatchet

        hatchet.run(settings)
    else:
        asyncio.run(serve(settings))
