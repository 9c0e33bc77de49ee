"""Partitions and chunks of a table that lie wholly behind the horizon of its retention: dropped, not emptied by row.

Dropping one locks the whole table for an instant. Nobody waits for that behind us for longer than `LOCK_MILLISECONDS`:
where the lock is not to be had, the partition is left for the next run, and its rows go one by one meanwhile.
"""

from __future__ import annotations

from datetime import datetime

import structlog
from sqlalchemy import Table, text
from sqlalchemy.exc import DBAPIError

from hogsend.runtime import Runtime

log = structlog.get_logger(__name__)

LOCK_MILLISECONDS = 100
LOCK_NOT_AVAILABLE = "55P03"

# The default partition has no upper bound, and stays.
_BEHIND = text(r"""
SELECT name FROM (
    SELECT child.oid::regclass::text AS name,
           (regexp_match(pg_get_expr(child.relpartbound, child.oid), 'TO \(''([^'']+)''\)'))[1]::timestamptz AS ends
    FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
    WHERE inhparent = CAST(:parent AS regclass) AND child.relispartition
) AS partitions
WHERE ends <= :before ORDER BY ends
""")
_IS_HYPERTABLE = text("SELECT to_regclass('timescaledb_information.hypertables') IS NOT NULL")
_HYPERTABLE = text("SELECT 1 FROM timescaledb_information.hypertables WHERE hypertable_name = :name")
_DROP_CHUNKS = text(
    "SELECT count(*) FROM drop_chunks(CAST(:name AS regclass), older_than => CAST(:before AS timestamptz))"
)


async def drop_old_partitions(runtime: Runtime, table: Table, before: datetime) -> int:
    """Drop what holds nothing from `before` on. Returns how many were dropped."""
    async with runtime.database.read() as conn:
        names = list((await conn.execute(_BEHIND, {"parent": table.name, "before": before})).scalars())
        hypertable = (await conn.execute(_IS_HYPERTABLE)).scalar_one()
        if hypertable:
            hypertable = (await conn.execute(_HYPERTABLE, {"name": table.name})).first() is not None
    dropped = sum([await _dropped(runtime, name) for name in names])
    return dropped + (await _drop_chunks(runtime, table, before) if hypertable else 0)


async def _dropped(runtime: Runtime, name: str) -> bool:
    """False where somebody uses the table and goes on doing so: it is tried again in the next run."""
    try:
        async with runtime.database.transaction() as conn:
            await conn.execute(text(f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}"))
            await conn.execute(text(f"DROP TABLE {name}"))
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
            raise
        log.info("partition_not_dropped", partition=name, why="the table is in use")
        return False
    log.info("partition_dropped", partition=name)
    return True


async def _drop_chunks(runtime: Runtime, table: Table, before: datetime) -> int:
    """TimescaleDB's own way; it locks a chunk at a time, and only those that it drops."""
    async with runtime.database.transaction() as conn:
        count: int = (await conn.execute(_DROP_CHUNKS, {"name": table.name, "before": before})).scalar_one()
    return count
