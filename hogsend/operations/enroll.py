"""Enrolling people by hand: the trigger event happens to one person, or to many; guards apply as ever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.decisions.reasons import DecisionKind
from hogsend.errors import InvalidInput
from hogsend.events.event import NewEvent, check_event
from hogsend.ingestion.pipeline import IngestResult, ingest_in
from hogsend.journeys.definition import Journey
from hogsend.operations.switch import find_journey
from hogsend.runtime import Runtime
from hogsend.tables.decisions import decisions

MAX_BATCH = 500


@dataclass(frozen=True)
class Enrollee:
    """Whom to enroll, and the properties of the trigger event."""

    external_id: str
    email: str
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Enrolled:
    """`reason` says why somebody was taken in or not: a `Reason`, or what was wrong with the input."""

    external_id: str
    enrolled: bool
    reason: str | None = None
    state_id: UUID | None = None
    event_id: UUID | None = None


async def enroll_in(
    conn: AsyncConnection,
    runtime: Runtime,
    journey_id: str,
    person: Enrollee,
    *,
    idempotency_key: str | None = None,
) -> Enrolled:
    """Let the journey's trigger event happen to a person, in the caller's transaction; guards apply as ever.

    The same key again has the same verdict: the one that was recorded then.
    """
    event = _trigger_event(find_journey(runtime, journey_id), person, idempotency_key)
    check_event(event, runtime.settings.nobodys_ids)
    return await _verdict(conn, journey_id, person, await ingest_in(conn, runtime, event))


def _trigger_event(journey: Journey, person: Enrollee, idempotency_key: str | None) -> NewEvent:
    return NewEvent(
        name=journey.trigger.event,
        external_id=person.external_id,
        email=person.email,
        properties=person.properties,
        idempotency_key=f"enroll:{journey.id}:{idempotency_key}" if idempotency_key else None,
        source="enroll",
    )


async def enroll_batch(
    runtime: Runtime, journey_id: str, people: Sequence[Enrollee], *, idempotency_key: str | None = None
) -> list[Enrolled]:
    """Enroll 1 to 500 people, each in a transaction of their own; one bad row does not stop the rest.

    With the same key again it goes on where it stopped, and answers for everybody.
    """
    find_journey(runtime, journey_id)
    _check_size(people)
    results: list[Enrolled] = []
    for index, person in enumerate(people):
        key = f"{idempotency_key}:{index}" if idempotency_key else None
        try:
            async with runtime.database.transaction() as conn:
                done = await enroll_in(conn, runtime, journey_id, person, idempotency_key=key)
        except InvalidInput as error:
            results.append(Enrolled(person.external_id, False, error.message))
            continue
        runtime.fault_point("after_ingest_commit")
        results.append(done)
    return results


def _check_size(people: Sequence[Enrollee]) -> None:
    if not 1 <= len(people) <= MAX_BATCH:
        raise InvalidInput("users", f"users must hold 1 to {MAX_BATCH} entries")


async def _verdict(
    conn: AsyncConnection, journey_id: str, person: Enrollee, outcome: IngestResult
) -> Enrolled:
    mine = next((e for e in outcome.enrollments if e.journey_id == journey_id), None)
    if mine is not None:
        return Enrolled(person.external_id, mine.enrolled, mine.reason.value, mine.state_id, outcome.event_id)
    made = decisions.c
    recorded = await conn.execute(
        select(made.kind, made.reason, made.state_id)
        .where(
            made.event_id == outcome.event_id,
            made.journey_id == journey_id,
            made.kind.in_((DecisionKind.ENROLLED.value, DecisionKind.SKIPPED.value)),
        )
        .order_by(made.seq)
        .limit(1)
    )
    row = recorded.one_or_none()
    if row is None:
        return Enrolled(person.external_id, False, "already_ingested", event_id=outcome.event_id)
    return Enrolled(
        person.external_id,
        row.kind == DecisionKind.ENROLLED.value,
        row.reason,
        row.state_id,
        outcome.event_id,
    )


async def preview_batch(runtime: Runtime, journey_id: str, people: Sequence[Enrollee]) -> list[Enrolled]:
    """What `enroll_batch` would answer now; each person's transaction is rolled back."""
    journey = find_journey(runtime, journey_id)
    _check_size(people)
    results: list[Enrolled] = []
    for person in people:
        event = _trigger_event(journey, person, None)
        try:
            check_event(event, runtime.settings.nobodys_ids)
            async with runtime.database.engine.connect() as conn:
                verdict = await _verdict(conn, journey_id, person, await ingest_in(conn, runtime, event))
                await conn.rollback()
        except InvalidInput as error:
            results.append(Enrolled(person.external_id, False, error.message))
            continue
        results.append(replace(verdict, state_id=None, event_id=None))
    return results
