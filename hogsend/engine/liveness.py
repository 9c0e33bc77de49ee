"""Liveness of workers: leases of processes that died are released within seconds, not when they run out.

Each worker holds an advisory lock that is named after it, on a session of its own. Postgres frees it when that
session ends, whatever ended it; so whoever can take the lock knows that its holder is gone. Fencing by epoch and
the provider's idempotency key keep this safe where a worker lost only its session.
"""

from __future__ import annotations

from collections import defaultdict
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
    released: defaultdict[str, list[UUID]] = defaultdict(list)
    wall = runtime.clock.wall()
    async with runtime.database.transaction() as conn:
        for table in leased:
            owners = await conn.execute(
                select(table.c.lease_owner)
                .where(table.c.lease_owner.is_not(None), table.c.lease_until > wall)
                .distinct()
            )
            for owner in owners.scalars().all():
                if owner != runtime.owner and await _is_gone(conn, owner):
                    freed = await conn.execute(
                        update(table)
                        .where(table.c.lease_owner == owner, table.c.lease_until > wall)
                        .values(lease_until=wall, lease_owner=None)
                        .returning(table.c.id)
                    )
                    ids = freed.scalars().all()
                    log.info("dead_leases_released", owner=owner, table=table.name, rows=len(ids))
                    released[table.name] += ids
    return released


async def _is_gone(conn: AsyncConnection, owner: str) -> bool:
    taken = await conn.execute(
        text("SELECT pg_try_advisory_xact_lock(:space, hashtext(:owner))"),
        {"space": LOCK_SPACE, "owner": owner},
    )
    return bool(taken.scalar_one())
