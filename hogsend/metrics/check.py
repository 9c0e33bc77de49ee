"""Compare the rollups with the rows that are kept, mend what differs, and report it.

Facts and what was counted are compared in one statement, so in one snapshot; both were committed together, so whatever
differs is wrong, whoever writes meanwhile. What retention deleted is counted apart, and is not compared.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime

import structlog
from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.metrics.periods import DAY, HOUR, Reach, floor
from hogsend.metrics.rollups import OF_A_CELL, ROLLUPS, SENT, Rollup
from hogsend.runtime import Runtime
from hogsend.tables.metrics import metric_checks

log = structlog.get_logger(__name__)

RECENT = 2 * DAY
WALK = 7 * DAY

_c = metric_checks.c
# What was sent has been requested before.
_NEWEST = text(
    "SELECT max(at) FROM ("
    + " UNION ALL ".join(
        f"(SELECT at FROM {rollup.facts} WHERE at < :before ORDER BY at DESC LIMIT 1) UNION ALL"
        f" (SELECT start FROM {rollup.table.name} WHERE grain = 'hour' AND start < :before ORDER BY start DESC LIMIT 1)"
        for rollup in ROLLUPS
        if rollup is not SENT
    )
    + ") AS newest"
)


@dataclass(frozen=True)
class Check:
    """How the last check went. `hours` were compared, `mended` cells were wrong; instants are product time."""

    at: datetime
    hours: int
    mended: int
    mended_ever: int
    mended_at: datetime | None


async def last_check(conn: AsyncConnection) -> Check | None:
    row = (await conn.execute(metric_checks.select())).mappings().one_or_none()
    return None if row is None else Check(**{one.name: row[one.name] for one in fields(Check)})


async def check_rollups(runtime: Runtime) -> None:
    """A scheduled task: the last two days with what is to come, and in turn one more week of the time before."""
    now = runtime.clock.now()
    recent = floor(now, HOUR) - RECENT
    before = await _walk(runtime, recent)
    mended = 0
    for rollup in ROLLUPS:
        mended += await _compare(runtime, rollup, Reach(recent)) + await _compare(runtime, rollup, before)
        for grain in rollup.grains[1:]:
            mended += await _change(runtime, _against_hours(rollup, grain))
    hours = RECENT // HOUR + 1
    if before.start is not None and before.end is not None:
        hours += (before.end - before.start) // HOUR
        recent = before.start
    await _note(runtime, now, hours, mended, recent)
    if mended:
        log.warning("metrics_mended", cells=mended, hours=hours)


async def _walk(runtime: Runtime, recent: datetime) -> Reach:
    """The older hours whose turn it is, on from where the last check came to; of what is empty none."""
    async with runtime.database.read() as conn:
        came_to = (await conn.execute(select(_c.walked_to))).scalar()
        newest = None if came_to is None else (await conn.execute(_NEWEST, {"before": came_to})).scalar()
        if newest is None or newest >= recent:
            newest = (await conn.execute(_NEWEST, {"before": recent})).scalar()
    if newest is None:
        return Reach(recent, recent)
    end = floor(newest, HOUR) + HOUR
    return Reach(max(end, datetime.min.replace(tzinfo=UTC) + WALK) - WALK, end)


async def _compare(runtime: Runtime, rollup: Rollup, reach: Reach) -> int:
    return 0 if reach.empty else await _change(runtime, _against_facts(rollup, reach), vars(reach))


async def _change(runtime: Runtime, sql: str, values: dict[str, datetime | None] | None = None) -> int:
    async with runtime.database.transaction() as conn:
        return (await conn.execute(text(sql), values or {})).rowcount


def _against_facts(rollup: Rollup, reach: Reach) -> str:
    """SQL that adds to the cells of `reach` (`:start`, and `:end` unless it is open) what its facts count more."""
    keys, measures = "".join(f", {key}" for key in rollup.keys), rollup.measures

    def within(column: str) -> str:
        return f"{column} >= :start" + (f" AND {column} < :end" if reach.end is not None else "")

    return f"""
INSERT INTO {rollup.table.name} ({rollup.columns})
SELECT 'fresh', start, false{keys}, {_sums(rollup)}
FROM (
    SELECT date_trunc('hour', at, 'UTC') AS start{keys}, {", ".join(measures)}
    FROM {rollup.facts} WHERE {within("at")}
    UNION ALL
    SELECT start{keys}, {", ".join(f"-{one}" for one in measures)}
    FROM {rollup.table.name} WHERE grain IN ('fresh', 'hour') AND NOT forgotten AND {within("start")}
) AS difference
GROUP BY start{keys} HAVING {_differs(rollup)}
"""


def _against_hours(rollup: Rollup, grain: str) -> str:
    """SQL that adds to the cells of a coarser grain what its hours count more."""
    name, cell = rollup.table.name, ", ".join((*OF_A_CELL, *rollup.keys))
    start = "date_trunc('day', start, 'UTC')" if grain == "day" else "timestamptz '1970-01-01 00:00+00'"
    keys, measures = "".join(f", {key}" for key in rollup.keys), rollup.measures
    return f"""
INSERT INTO {name} ({rollup.columns})
SELECT {cell}, {_sums(rollup)}
FROM (
    SELECT '{grain}' AS grain, {start} AS start, forgotten{keys}, {", ".join(measures)}
    FROM {name} WHERE grain = 'hour'
    UNION ALL
    SELECT grain, start, forgotten{keys}, {", ".join(f"-{one}" for one in measures)}
    FROM {name} WHERE grain = '{grain}'
) AS difference
GROUP BY {cell} HAVING {_differs(rollup)} ORDER BY {cell}
{rollup.add_to_cells}
"""


def _sums(rollup: Rollup) -> str:
    return ", ".join(f"sum({one})" for one in rollup.measures)


def _differs(rollup: Rollup) -> str:
    return " OR ".join(f"sum({one}) <> 0" for one in rollup.measures)


async def _note(runtime: Runtime, at: datetime, hours: int, mended: int, walked_to: datetime) -> None:
    said = {"at": at, "hours": hours, "mended": mended, "walked_to": walked_to}
    first = insert(metric_checks).values(id=1, **said, mended_ever=mended, mended_at=at if mended else None)
    again = {
        **said,
        "mended_ever": _c.mended_ever + mended,
        "mended_at": func.coalesce(first.excluded.mended_at, _c.mended_at),
    }
    async with runtime.database.transaction() as conn:
        await conn.execute(first.on_conflict_do_update(index_elements=["id"], set_=again))
