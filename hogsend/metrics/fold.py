"""Fold the fresh rows of rollups into hours, days and all time. What is read is the same before and after."""

from __future__ import annotations

from sqlalchemy import text

from hogsend.metrics.rollups import OF_A_CELL, ROLLUPS, Rollup
from hogsend.runtime import Runtime

BATCH = 20_000

_START = (
    "CASE grains.grain WHEN 'hour' THEN start WHEN 'day' THEN date_trunc('day', start, 'UTC')"
    " ELSE timestamptz '1970-01-01 00:00+00' END"
)
_ANY = " OR ".join(f"EXISTS (SELECT FROM {rollup.table.name} WHERE grain = 'fresh')" for rollup in ROLLUPS)


async def any_fresh(runtime: Runtime) -> bool:
    """Whether there is anything to fold."""
    async with runtime.database.each_alone() as conn:
        return bool((await conn.execute(text(f"SELECT {_ANY}"))).scalar_one())


async def fold(runtime: Runtime) -> None:
    """Fold every fresh row, a batch a transaction; a scheduled task."""
    for rollup in ROLLUPS:
        moved = BATCH
        while moved == BATCH:
            async with runtime.database.transaction() as conn:
                moved = (await conn.execute(text(_folding(rollup)), {"batch": BATCH})).scalar_one()


def _folding(rollup: Rollup) -> str:
    """SQL that moves up to `:batch` fresh rows and answers how many. Cells are locked in one order everywhere."""
    name, keys = rollup.table.name, "".join(f", {key}" for key in rollup.keys)
    order = ", ".join(str(place) for place in range(1, len(OF_A_CELL) + len(rollup.keys) + 1))
    return f"""
WITH moved AS (
    DELETE FROM {name} WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM {name} WHERE grain = 'fresh' LIMIT :batch FOR UPDATE SKIP LOCKED
    )) RETURNING start, forgotten{keys}, {", ".join(rollup.measures)}
), folded AS (
    INSERT INTO {name} ({rollup.columns})
    SELECT grains.grain, {_START}, forgotten{keys}, {", ".join(f"sum({one})" for one in rollup.measures)}
    FROM moved CROSS JOIN (VALUES {", ".join(f"('{grain}')" for grain in rollup.grains)}) AS grains(grain)
    GROUP BY {order} ORDER BY {order}
    {rollup.add_to_cells}
)
SELECT count(*) FROM moved
"""
