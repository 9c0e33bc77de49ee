"""Switching journeys: an operator enables or disables one, whatever its code says."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.errors import NotFound
from hogsend.journeys.definition import Journey
from hogsend.runtime import Runtime
from hogsend.tables.journeys import journey_settings


def find_journey(runtime: Runtime, journey_id: str) -> Journey:
    """Raises `NotFound`."""
    journey = runtime.registry.get(journey_id)
    if journey is None:
        raise NotFound("Journey")
    return journey


async def set_enabled(conn: AsyncConnection, runtime: Runtime, journey_id: str, *, enabled: bool) -> datetime:
    """Override the code's `enabled`. Runs that are under way go on. Returns when it was changed."""
    find_journey(runtime, journey_id)
    now = runtime.clock.now()
    values = {"journey_id": journey_id, "enabled": enabled, "updated_at": now}
    await conn.execute(
        pg_insert(journey_settings)
        .values(values)
        .on_conflict_do_update(index_elements=[journey_settings.c.journey_id], set_=values)
    )
    return now
