"""`/metrics`: what was counted, and what is so now, as Prometheus reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from importlib.metadata import version

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.pool import QueuePool

from hogsend.monitoring.backlog import Backlog, FreshBacklog
from hogsend.runtime import Runtime

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FRESH_SECONDS = 1.0


class Exposition:
    """The figures of one process, written at most once a second."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._text = b""
        self._until = 0.0

    async def text(self) -> bytes:
        """In Prometheus' text format. Answers within seconds, whatever is away."""
        backlog = await self._runtime.part(FreshBacklog).get()
        now = asyncio.get_running_loop().time()
        if now >= self._until:
            registry = CollectorRegistry()
            registry.register(_Now(self._runtime, backlog))
            self._text = generate_latest(REGISTRY) + generate_latest(registry)
            self._until = now + FRESH_SECONDS
        return self._text

    async def close(self) -> None:
        """Nothing is held open."""


class _Now(Collector):
    """What is so at this moment."""

    def __init__(self, runtime: Runtime, backlog: Backlog | None) -> None:
        self._runtime = runtime
        self._backlog = backlog

    def collect(self) -> Iterator[Metric]:
        yield _gauge(
            "hogsend_build_info", "The version that runs; always 1", ["version"], [((version("hogsend"),), 1)]
        )
        yield _gauge(
            "hogsend_backlog_up",
            "Whether what waits could be read",
            [],
            [((), float(self._backlog is not None))],
        )
        if self._backlog is not None:
            yield from _of_backlog(self._backlog)
        yield from _of_pools(self._runtime)


def _of_backlog(backlog: Backlog) -> Iterator[Metric]:
    queues, crons = backlog.queues, backlog.crons
    yield _gauge(
        "hogsend_queue_depth",
        "How many wait, counted up to 10000",
        ["queue"],
        [((name,), queue.depth) for name, queue in queues.items()],
    )
    yield _gauge(
        "hogsend_queue_oldest_seconds",
        "How long the first one waits, in real time; 0 where none does",
        ["queue"],
        [((name,), queue.oldest.total_seconds()) for name, queue in queues.items()],
    )
    yield _gauge(
        "hogsend_cron_age_seconds",
        "Since a scheduled task last ran, in whichever process",
        ["cron"],
        [((name,), cron.since.total_seconds()) for name, cron in crons.items() if cron.since is not None],
    )
    yield _gauge(
        "hogsend_cron_failing",
        "Whether the last run of a scheduled task failed",
        ["cron"],
        [((name,), float(cron.failing)) for name, cron in crons.items()],
    )


def _of_pools(runtime: Runtime) -> Iterator[Metric]:
    engines = {
        "main": runtime.database.engine,
        "exports": runtime.database.exports,
        "health": runtime.database.health,
    }
    pools = {name: engine.pool for name, engine in engines.items()}
    known = {name: pool for name, pool in pools.items() if isinstance(pool, QueuePool)}
    yield _gauge(
        "hogsend_pool_connections",
        "Connections to Postgres that this process has, by what they do",
        ["pool", "state"],
        [
            sample
            for name, pool in known.items()
            for sample in (((name, "in_use"), pool.checkedout()), ((name, "idle"), pool.checkedin()))
        ],
    )
    yield _gauge(
        "hogsend_pool_limit",
        "Connections to Postgres that this process may have",
        ["pool"],
        [((name,), pool.size() + pool._max_overflow) for name, pool in known.items()],
    )


def _gauge(
    name: str, told: str, labels: list[str], samples: list[tuple[tuple[str, ...], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, told, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family
