"""What waits, read from the rows: how many, and for how long. Each figure costs an index range with an end.

Whoever asks often is told what was read a moment ago: a storm of scrapes costs what one does.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import RowMapping, text

from hogsend.execution.overdue_runs import OVERDUE
from hogsend.runtime import Runtime

log = structlog.get_logger(__name__)

MOST = 10_000
"""A queue is counted so far: a figure of so many means that many, or more."""

FRESH_SECONDS = 5.0
LONGEST_READ = 2.0

# What runs and emails wait for is product time; the rest is real time.
_DRIVEN = "status IN ('pending', 'active', 'waiting') AND (lease_until IS NULL OR lease_until <= :wall)"
_QUEUES = {
    "outbox": (
        "SELECT created_at AS since FROM outbox WHERE published_at IS NULL AND topic <> 'analytics.capture'"
        " ORDER BY available_at, id"
    ),
    "captures": (
        "SELECT created_at AS since FROM outbox WHERE published_at IS NULL AND topic = 'analytics.capture'"
        " ORDER BY available_at, id"
    ),
    "jobs": "SELECT run_at AS since FROM jobs WHERE status = 'pending' AND run_at <= :wall ORDER BY run_at",
    "runs": f"SELECT wake_at AS since FROM journey_states WHERE {_DRIVEN} AND wake_at <= :now ORDER BY wake_at",
    "overdue_runs": (
        f"SELECT wake_at AS since FROM journey_states WHERE {_DRIVEN} AND wake_at <= :overdue ORDER BY wake_at"
    ),
    "emails": (
        "SELECT created_at AS since FROM email_sends WHERE status = 'queued' ORDER BY status, created_at, id"
    ),
    "delivery_events": "SELECT received_at AS since FROM provider_events WHERE processed_at IS NULL",
    "dead_letters": (
        "SELECT created_at AS since FROM dead_letters WHERE status = 'pending' ORDER BY status, created_at, id"
    ),
}
IN_PRODUCT_TIME = frozenset({"runs", "overdue_runs", "emails", "delivery_events", "dead_letters"})
QUEUES = tuple(_QUEUES)

READ = text(
    " UNION ALL ".join(
        f"SELECT '{name}' AS queue, count(*) AS depth, min(since) AS oldest FROM ({rows} LIMIT :most) AS {name}"
        for name, rows in _QUEUES.items()
    )
)
_CRONS = text("SELECT name, last_run_at, last_error IS NOT NULL AS failing FROM crons ORDER BY name")


@dataclass(frozen=True)
class Queue:
    """`depth` is counted up to MOST; `oldest` is how long the first one waits, in real time, 0 where none does."""

    depth: int
    oldest: timedelta


@dataclass(frozen=True)
class CronState:
    """`since` is real time since it last ran; None where it never did."""

    since: timedelta | None
    failing: bool


@dataclass(frozen=True)
class Backlog:
    """By name."""

    queues: dict[str, Queue]
    crons: dict[str, CronState]


async def read_backlog(runtime: Runtime) -> Backlog:
    """Read it now, in two statements. On the connections of the probes: it waits for nobody's work."""
    clock = runtime.clock
    given = {
        "wall": clock.wall(),
        "now": clock.now(),
        "overdue": clock.now() - clock.product(OVERDUE),
        "most": MOST,
    }
    async with runtime.database.health.connect() as conn:
        found = (await conn.execute(READ, given)).mappings().all()
        crons = (await conn.execute(_CRONS)).all()
    return Backlog(
        {row["queue"]: _queue(runtime, row) for row in found},
        {row.name: CronState(_age(clock.wall(), row.last_run_at), row.failing) for row in crons},
    )


def _queue(runtime: Runtime, row: RowMapping) -> Queue:
    clock = runtime.clock
    is_product = row["queue"] in IN_PRODUCT_TIME
    age = _age(clock.now() if is_product else clock.wall(), row["oldest"]) or timedelta(0)
    return Queue(row["depth"], clock.real(age) if is_product else age)


def _age(now: datetime, since: datetime | None) -> timedelta | None:
    return None if since is None else max(now - since, timedelta(0))


class FreshBacklog:
    """The backlog as it was within the last seconds, read once for all who ask."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._read: Backlog | None = None
        self._until = 0.0
        self._one_at_a_time = asyncio.Lock()

    async def get(self) -> Backlog | None:
        """None where the database does not answer; it is asked again once that is a moment ago."""
        async with self._one_at_a_time:
            now = asyncio.get_running_loop().time()
            if now >= self._until:
                self._read = await self._ask()
                self._until = asyncio.get_running_loop().time() + FRESH_SECONDS
            return self._read

    async def _ask(self) -> Backlog | None:
        try:
            async with asyncio.timeout(LONGEST_READ):
                return await read_backlog(self._runtime)
        except Exception as error:
            # Whatever keeps it from answering, the other figures are told all the same.
            told: dict[str, Any] = {"error": type(error).__name__}
            log.warning("backlog_not_read", **told)
            return None

    async def close(self) -> None:
        """Nothing is held open."""
