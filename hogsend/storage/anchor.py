"""Anchor of sped-up product time: one row, so that the API and the worker read the same clock."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Row, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.clock import Clock, SystemClock
from hogsend.storage.database import Database

ROW = 1
LOCK = 7_310_454
SAME_RUN = timedelta(seconds=30)


async def anchored_clock(database: Database, speed: float) -> Clock:
    """The process's clock.

    Product time never runs back: a new speed, or a restart, goes on from the latest time that a worker noted.
    Where the database does not answer, product time is real time until the next start.
    """
    try:
        async with database.transaction() as conn:
            await conn.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            return await _join_or_anchor(conn, speed)
    except (SQLAlchemyError, OSError):
        return SystemClock()


async def noted_speed(database: Database) -> float:
    """The speed of the clock that is anchored, for a command that joins it; 1 where none is."""
    async with database.read() as conn:
        found = await conn.execute(text("SELECT speed FROM clock WHERE id = :id"), {"id": ROW})
        return float(found.scalar_one_or_none() or 1)


async def _join_or_anchor(conn: AsyncConnection, speed: float) -> Clock:
    real = SystemClock()
    wall = real.wall()
    row = (
        await conn.execute(
            text(
                "SELECT anchor_wall, anchor_product, speed, seen_product, noted_at FROM clock WHERE id = :id"
            ),
            {"id": ROW},
        )
    ).one_or_none()
    if row is None and speed == 1:
        return real
    if row is not None and _still_runs(row, speed, real):
        return SystemClock(speed, row.anchor_wall, row.anchor_product)
    start = max(wall, row.seen_product) if row is not None else wall
    await conn.execute(
        text(
            "INSERT INTO clock (id, anchor_wall, anchor_product, speed, seen_product, noted_at)"
            " VALUES (:id, :wall, :start, :speed, :start, :wall) ON CONFLICT (id) DO UPDATE SET"
            " anchor_wall = :wall, anchor_product = :start, speed = :speed, seen_product = :start, noted_at = :wall"
        ),
        {"id": ROW, "wall": wall, "start": start, "speed": speed},
    )
    return SystemClock(speed, wall, start)


def _still_runs(row: Row[tuple[object, ...]], speed: float, real: SystemClock) -> bool:
    """Whether another process is on this clock now: then this one joins it instead of anchoring anew."""
    return bool(row.speed == speed and real.wall() - row.noted_at < SAME_RUN)


async def note_time(database: Database, clock: Clock) -> None:
    """Remember the product time, so that a restart does not run it back. The worker calls it every few seconds."""
    async with database.each_alone() as conn:
        await conn.execute(
            text(
                "UPDATE clock SET seen_product = greatest(seen_product, :now), noted_at = :wall WHERE id = :id"
            ),
            {"now": clock.now(), "wall": clock.wall(), "id": ROW},
        )
