"""The ledger of decisions: append-only, one row a decision, each also a line of the activity log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.decisions.reasons import DecisionKind, Reason
from hogsend.realtime import activity
from hogsend.storage.bulk import BulkInsert
from hogsend.storage.metadata import new_id
from hogsend.tables.decisions import decisions
from hogsend.tables.realtime import ActivityKind
from hogsend.telemetry.counters import DECISIONS, count_when_committed

_APPEND = BulkInsert(
    decisions,
    (
        "id",
        "at",
        "kind",
        "reason",
        "detail",
        "contact_id",
        "journey_id",
        "state_id",
        "event_id",
        "email_id",
    ),
)


@dataclass(frozen=True, kw_only=True)
class NewDecision:
    """One row of the ledger.

    `moved` is the status that the run `state_id` came to by it, where it did: the log says that first.
    """

    kind: DecisionKind
    reason: Reason
    contact_id: UUID | None
    detail: Mapping[str, Any] | None = None
    journey_id: str | None = None
    state_id: UUID | None = None
    event_id: UUID | None = None
    email_id: UUID | None = None
    moved: str | None = None


async def record_decision(conn: AsyncConnection, at: datetime, decision: NewDecision) -> UUID:
    """Append one row to the ledger, in the transaction that carries the decision out. `at` is product time."""
    return (await record_decisions(conn, at, [decision]))[0]


async def record_decisions(conn: AsyncConnection, at: datetime, new: Sequence[NewDecision]) -> list[UUID]:
    """Append several in this order: one statement for the ledger and one for the log, however many they are."""
    if not new:
        return []
    named = [(new_id(), decision) for decision in new]
    rows = [_row(row_id, at, decision) for row_id, decision in named]
    await conn.execute(_APPEND.statement, _APPEND.given(rows))
    lines = [line for row_id, decision in named for line in _lines(row_id, at, decision)]
    await activity.record_all(conn, lines)
    for decision in new:
        count_when_committed(conn, DECISIONS.labels(decision.kind.value, decision.reason.value))
    return [row_id for row_id, _ in named]


def _row(row_id: UUID, at: datetime, decision: NewDecision) -> dict[str, Any]:
    return {
        "id": row_id,
        "at": at,
        "kind": decision.kind.value,
        "reason": decision.reason.value,
        "detail": dict(decision.detail or {}),
        "contact_id": decision.contact_id,
        "journey_id": decision.journey_id,
        "state_id": decision.state_id,
        "event_id": decision.event_id,
        "email_id": decision.email_id,
    }


def _lines(row_id: UUID, at: datetime, decision: NewDecision) -> Iterator[activity.Line]:
    line = activity.Line(
        at=at,
        kind=ActivityKind.DECISION,
        type=decision.kind.value,
        ref_id=row_id,
        contact_id=decision.contact_id,
        journey_id=decision.journey_id,
    )
    if decision.moved is not None and decision.state_id is not None:
        yield replace(line, kind=ActivityKind.RUN, type=decision.moved, ref_id=decision.state_id)
    yield line
