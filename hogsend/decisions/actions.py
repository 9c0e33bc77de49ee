"""Record a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.decisions.reasons import Kind, Reason
from hogsend.decisions.tables import decisions
from hogsend.realtime import activity
from hogsend.storage.metadata import new_id


async def decide(
    conn: AsyncConnection,
    *,
    at: datetime,
    kind: Kind,
    reason: Reason,
    contact_id: UUID | None,
    detail: Mapping[str, Any] | None = None,
    journey_id: str | None = None,
    state_id: UUID | None = None,
    event_id: UUID | None = None,
    email_id: UUID | None = None,
) -> UUID:
    """Append one row to the ledger, in the transaction that carries the verdict out. `at` is product time."""
    decision_id = new_id()
    await conn.execute(
        insert(decisions).values(
            id=decision_id,
            at=at,
            kind=kind.value,
            reason=reason.value,
            detail=dict(detail or {}),
            contact_id=contact_id,
            journey_id=journey_id,
            state_id=state_id,
            event_id=event_id,
            email_id=email_id,
        )
    )
    await activity.record(
        conn,
        at=at,
        kind="decision",
        type=kind.value,
        ref_id=decision_id,
        contact_id=contact_id,
        journey_id=journey_id,
    )
    return decision_id
