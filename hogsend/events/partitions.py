"""Partitions of `user_events`, one a month, made ahead of time. TimescaleDB makes its own chunks."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from hogsend.runtime import Runtime

log = structlog.get_logger(__name__)

AHEAD = 3


def months_from(at: datetime, count: int) -> list[tuple[datetime, datetime]]:
    """The month of `at` and those after it, each as its first instant and the next one's, in UTC."""
    starts = [
        datetime(at.year + (at.month - 1 + i) // 12, (at.month - 1 + i) % 12 + 1, 1, tzinfo=UTC)
        for i in range(count + 1)
    ]
    return list(pairwise(starts))


async def make_partitions(runtime: Runtime) -> None:
    """Make this month's partition and the next ones. Months that already have rows in the default stay there."""
    async with runtime.database.read() as conn:
        kind = await conn.execute(text("SELECT relkind FROM pg_class WHERE oid = 'user_events'::regclass"))
        if kind.scalar_one() not in ("p", b"p"):
            return
    for start, end in months_from(runtime.clock.now(), AHEAD):
        name = f"user_events_p{start:%Y%m}"
        try:
            async with runtime.database.transaction() as conn:
                there = await conn.execute(text("SELECT to_regclass(:name)"), {"name": name})
                if there.scalar_one() is None:
                    await conn.execute(
                        text(
                            f"CREATE TABLE {name} PARTITION OF user_events"
                            f" FOR VALUES FROM ('{start.isoformat()}') TO ('{end.isoformat()}')"
                        )
                    )
        except DBAPIError:
            log.info(
                "partition_not_made", partition=name, why="the default partition holds rows of that month"
            )
