"""Liveness of workers: leases of processes that died are released within seconds, not when they run out.

Each worker holds an advisory lock that is named after it, on a session of its own. Postgres frees it when that
session ends, whatever ended it; so whoever can take the lock knows that its holder is gone. Fencing by epoch and
the provider's idempotency key keep this safe where a worker lost only its session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

import structlog
from sqlalchemy import Table, exists, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.runtime import Runtime

log = structlog.get_logger(__name__)

LOCK_SPACE = 7_311


async def sign_in(conn: AsyncConnection, owner: str) -> None:
    """Hold this process's lock for as long as `conn` lives."""
    await conn.execute(
        text("SELECT pg_advisory_lock_shared(:space, hashtext(:owner))"),
        {"space": LOCK_SPACE, "owner": owner},
    )
    await conn.commit()


class Presence:
    """This process's own session that shows that it lives, beside the pool; made when something first rests on it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._session: AsyncConnection | None = None
        self._one_at_a_time = asyncio.Lock()

    async def show(self) -> None:
        """See that the session stands: what is held under this process's name is then not taken for a dead one's."""
        async with self._one_at_a_time:
            if self._session is not None and not await _is_lost(self._session):
                return
            await self.close()
            session = await self._runtime.database.engine.connect()
            try:
                await session.run_sync(lambda conn: conn.detach())
                await sign_in(session, self._runtime.owner)
            except BaseException:
                await session.close()
                raise
            self._session = session

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()


async def _is_lost(session: AsyncConnection) -> bool:
    driver = (await session.get_raw_connection()).driver_connection
    return driver is None or bool(driver.is_closed())


async def others_hold_leases(runtime: Runtime, leased: Sequence[Table]) -> bool:
    """Whether another process holds a lease in one of the tables: it might be dead. One read, from their indexes."""
    wall = runtime.clock.wall()
    held = [
        exists().where(
            table.c.lease_owner.is_not(None), table.c.lease_owner != runtime.owner, table.c.lease_until > wall
        )
        for table in leased
    ]
    async with runtime.database.each_alone() as conn:
        return bool((await conn.execute(select(or_(*held)))).scalar_one())


async def release_dead_leases(runtime: Runtime, leased: Sequence[Table]) -> Mapping[str, Sequence[UUID]]:
    """End the leases of owners that are gone, in tables that have `id`, `lease_owner` and `lease_until`.

    Returns the ids of the rows that may be taken up again, by table.
    """
    released: dict[str, list[UUID]] = {}
    wall = runtime.clock.wall()
    async with runtime.database.transaction() as conn:
        for table in leased:
            owners = await conn.execute(
                select(table.c.lease_owner)
                .where(table.c.lease_owner.is_not(None), table.c.lease_until > wall)
                .distinct()
            )
            held = owners.scalars().all()
            dead = [owner for owner in held if owner != runtime.owner and await is_gone(conn, owner)]
            if dead:
                # Rows are locked by id, as everywhere.
                theirs = (
                    select(table.c.id)
                    .where(table.c.lease_owner.in_(dead), table.c.lease_until > wall)
                    .order_by(table.c.id)
                    .with_for_update()
                    .cte()
                )
                freed = await conn.execute(
                    update(table)
                    .where(table.c.id == theirs.c.id)
                    .values(lease_until=wall, lease_owner=None)
                    .returning(table.c.id)
                )
                released[table.name] = list(freed.scalars())
                log.info(
                    "dead_leases_released", owners=dead, table=table.name, rows=len(released[table.name])
                )
    return released


async def is_gone(conn: AsyncConnection, owner: str) -> bool:
    """Whether no session shows that this process lives. Whoever asks holds its lock till the transaction's end."""
    taken = await conn.execute(
        text("SELECT pg_try_advisory_xact_lock(:space, hashtext(:owner))"),
        {"space": LOCK_SPACE, "owner": owner},
    )
    return bool(taken.scalar_one())
