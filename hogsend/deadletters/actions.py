"""Dead letters: keep what could not be done, and resolve it once it was retried, or given up by a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import case, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.clock import Clock
from hogsend.realtime import activity
from hogsend.storage.metadata import new_id
from hogsend.tables.deadletters import DeadLetterSource, DeadLetterStatus, dead_letters
from hogsend.tables.realtime import ActivityKind
from hogsend.telemetry.counters import DEAD_LETTERS, count_when_committed


async def add_dead_letter(
    conn: AsyncConnection,
    clock: Clock,
    *,
    source: DeadLetterSource,
    source_id: str | None,
    error: str,
    payload: Mapping[str, Any],
) -> UUID:
    """Keep one dead letter for what failed, in the transaction that recorded the failure.

    A new failure of something that was retried brings its dead letter back as pending, its `retry_count` one higher.
    """
    now = clock.now()
    entry = {
        "id": new_id(),
        "source": source,
        "source_id": source_id,
        "payload": dict(payload),
        "error": error,
        "status": DeadLetterStatus.PENDING,
        "created_at": now,
        "updated_at": now,
    }
    letters = dead_letters.c
    statement = insert(dead_letters).values(entry)
    statement = statement.on_conflict_do_update(
        index_elements=[letters.source, letters.source_id],
        set_={
            "error": error,
            "payload": dict(payload),
            "status": DeadLetterStatus.PENDING,
            "retry_count": letters.retry_count
            + case((letters.status == DeadLetterStatus.RETRIED, 1), else_=0),
            "updated_at": now,
        },
    )
    entry_id: UUID = (await conn.execute(statement.returning(letters.id))).scalar_one()
    await activity.record(conn, at=now, kind=ActivityKind.DEAD_LETTER, type="added", ref_id=entry_id)
    count_when_committed(conn, DEAD_LETTERS.labels(source))
    return entry_id


async def resolve_dead_letters(
    conn: AsyncConnection,
    now: datetime,
    source: DeadLetterSource,
    source_ids: Sequence[str],
    status: Literal[DeadLetterStatus.RETRIED, DeadLetterStatus.DISCARDED],
) -> None:
    """Resolve the pending dead letters of these things, in the transaction that lets them go on or ends them."""
    letters = dead_letters.c
    values: dict[str, Any] = {"status": status, "updated_at": now}
    if status is DeadLetterStatus.RETRIED:
        values["retried_at"] = now
    await conn.execute(
        update(dead_letters)
        .where(
            letters.source == source,
            letters.source_id.in_(source_ids),
            letters.status == DeadLetterStatus.PENDING,
        )
        .values(values)
    )
