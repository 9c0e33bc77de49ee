"""Idempotency keys of events: a key names one event for good, and whoever comes second is told which."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.access.idempotency import input_hash
from hogsend.events.event import NewEvent
from hogsend.storage.bulk import BulkInsert
from hogsend.tables.events import event_keys

_k = event_keys.c
_CLAIM = BulkInsert(
    event_keys, ("key", "event_id", "created_at", "content_hash"), "ON CONFLICT DO NOTHING RETURNING key"
)


@dataclass(frozen=True)
class Claimed:
    """The event that has a key, and what was asked for under it, where that counts."""

    event_id: UUID
    content_hash: str | None


async def claim_keys(
    conn: AsyncConnection, wanted: Mapping[str, Claimed], now: datetime
) -> dict[str, Claimed]:
    """Claim keys that are new; of the others, by whom they were claimed. Waits for whoever holds one of them now.

    Taken in their order everywhere, and before any subject's lock, so that no two transactions wait in a circle.
    """
    if not wanted:
        return {}
    rows = [{"key": key, "created_at": now, **vars(wanted[key])} for key in sorted(wanted)]
    new = set((await conn.execute(_CLAIM.statement, _CLAIM.given(rows))).scalars())
    seen = wanted.keys() - new
    if not seen:
        return {}
    found = await conn.execute(select(_k.key, _k.event_id, _k.content_hash).where(_k.key.in_(seen)))
    return {row.key: Claimed(row.event_id, row.content_hash) for row in found}


async def give_up(conn: AsyncConnection, keys: Collection[str]) -> None:
    """Free keys that this transaction has claimed for events that it does not store after all."""
    if keys:
        await conn.execute(delete(event_keys).where(_k.key.in_(keys)))


def content_of(event: NewEvent) -> str | None:
    """The hash of an operator's event. By the contract of the data plane, there the key alone counts."""
    if event.source != "enroll":
        return None
    return input_hash(
        {
            "name": event.name,
            "userId": event.external_id,
            "email": event.email,
            "properties": event.properties,
        }
    )
