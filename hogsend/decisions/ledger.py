"""Record verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.decisions.reasons import Kind, Reason
from hogsend.realtime import activity
from hogsend.storage.metadata import new_id
from hogsend.tables.decisions import decisions
from hogsend.tables.realtime import ActivityKind
from hogsend.telemetry.counters import DECISIONS, count_when_committed

_APPEND = insert(decisions)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One row of the ledger.

    `moved` is the status that the run `state_id` came to by it, where it did: the log says that first.
    """

    kind: Kind
    reason: Reason
    contact_id: UUID | None
    detail: Mapping[str, Any] | None = None
    journey_id: str | None = None
    state_id: UUID | None = None
    event_id: UUID | None = None
    email_id: UUID | None = None
    moved: str | None = None


async def record_decision(
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
    verdict = Verdict(
        kind=kind,
        reason=reason,
        contact_id=contact_id,
        detail=detail,
        journey_id=journey_id,
        state_id=state_id,
        event_id=event_id,
        email_id=email_id,
    )
    return (await record_decisions(conn, at, [verdict]))[0]


async def record_decisions(conn: AsyncConnection, at: datetime, verdicts: Sequence[Verdict]) -> list[UUID]:
    """Append several in this order: one statement for the ledger and one for the log, however many they are."""
    if not verdicts:
        return []
    named = [(new_id(), verdict) for verdict in verdicts]
    await conn.execute(_APPEND, [_row(row_id, at, verdict) for row_id, verdict in named])
    lines = [line for row_id, verdict in named for line in _lines(row_id, at, verdict)]
    await activity.record_all(conn, lines)
    for verdict in verdicts:
        count_when_committed(conn, DECISIONS.labels(verdict.kind.value, verdict.reason.value))
    return [row_id for row_id, _ in named]


def _row(row_id: UUID, at: datetime, verdict: Verdict) -> dict[str, Any]:
    return {
        "id": row_id,
        "at": at,
        "kind": verdict.kind.value,
        "reason": verdict.reason.value,
        "detail": dict(verdict.detail or {}),
        "contact_id": verdict.contact_id,
        "journey_id": verdict.journey_id,
        "state_id": verdict.state_id,
        "event_id": verdict.event_id,
        "email_id": verdict.email_id,
    }


def _lines(row_id: UUID, at: datetime, verdict: Verdict) -> Iterator[activity.Line]:
    line = activity.Line(
        at=at,
        kind=ActivityKind.DECISION,
        type=verdict.kind.value,
        ref_id=row_id,
        contact_id=verdict.contact_id,
        journey_id=verdict.journey_id,
    )
    if verdict.moved is not None and verdict.state_id is not None:
        yield replace(line, kind=ActivityKind.RUN, type=verdict.moved, ref_id=verdict.state_id)
    yield line
