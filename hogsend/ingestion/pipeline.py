"""The pipeline: events, and everything that follows from each, committed in one transaction, or nothing is.

One event or a thousand: each step is a statement a table. `ingest_in` takes one that the caller's transaction carries,
whatever it links or merges; `take_wave` takes many that do not depend on each other (`ingestion/waves.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, column
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.access.idempotency import reused
from hogsend.contacts.identity_keys import Contact, Keys
from hogsend.contacts.resolve import resolve
from hogsend.contacts.resolve_many import Said, resolve_plain
from hogsend.engine.outbox import CAPTURE, OutboxMessage, publish_all
from hogsend.enrollment.arrival import Arrival
from hogsend.enrollment.live_runs import Exit, meet_live_runs
from hogsend.enrollment.on_event import Enrollment, enroll_matching
from hogsend.events.event import Event, NewEvent
from hogsend.ingestion.keys import Claimed, claim_keys, content_of, give_up
from hogsend.realtime import activity
from hogsend.runtime import Runtime
from hogsend.storage.bulk import BulkInsert
from hogsend.storage.metadata import new_id
from hogsend.tables.events import user_events
from hogsend.tables.realtime import ActivityKind
from hogsend.telemetry import traces
from hogsend.telemetry.counters import DEDUPLICATED, EVENTS, count_when_committed

_APPEND = BulkInsert(
    user_events,
    (
        "id",
        "contact_id",
        "name",
        "properties",
        "source",
        "idempotency_key",
        "occurred_at",
        "received_at",
        "depth",
        "chain",
    ),
    "RETURNING id, seq",
)
_APPENDED = _APPEND.statement.columns(column("id", PG_UUID(as_uuid=True)), column("seq", BigInteger))


@dataclass(frozen=True)
class IngestResult:
    """`stored` is False where the idempotency key was seen before: then nothing at all changed."""

    stored: bool
    event_id: UUID
    contact_id: UUID | None = None
    exits: tuple[Exit, ...] = ()
    enrollments: tuple[Enrollment, ...] = ()


@dataclass(frozen=True)
class Incoming:
    """An event that `check_event` has passed, on its way in. `trace` is the context of the request that brought it."""

    event: NewEvent
    trace: str | None = field(default_factory=traces.current)
    id: UUID = field(default_factory=new_id)
    keys: Keys = field(init=False)

    def __post_init__(self) -> None:
        event = self.event
        object.__setattr__(self, "keys", Keys.checked(event.external_id, event.email, event.anonymous_id))

    def claim(self) -> dict[str, Claimed]:
        """Its idempotency key, where it has one, as `claim_keys` takes it."""
        key = self.event.idempotency_key
        return {} if key is None else {key: Claimed(self.id, content_of(self.event))}


async def ingest_in(conn: AsyncConnection, runtime: Runtime, event: NewEvent) -> IngestResult:
    """Take one event in, in the caller's transaction; `check_event` has passed it.

    Raises `InvalidInput` for an operator's key that was another event's.
    """
    return await take_one(conn, runtime, Incoming(event))


async def take_one(conn: AsyncConnection, runtime: Runtime, incoming: Incoming) -> IngestResult:
    """The same for one that is on its way already: whatever it links or merges, and whomever it has to wait for."""
    event, now = incoming.event, runtime.clock.now()
    claim = incoming.claim()
    for key, seen in (await claim_keys(conn, claim, now)).items():
        content = claim[key].content_hash
        if content is not None and seen.content_hash not in (None, content):
            raise reused()
        return _seen_before(conn, seen.event_id)
    contact = (await resolve(conn, runtime.clock, incoming.keys, event.contact_properties)).contact
    return (await _store_and_react(conn, runtime, [(incoming, contact)], now))[incoming.id]


async def take_wave(
    conn: AsyncConnection, runtime: Runtime, wave: Sequence[Incoming]
) -> dict[UUID, IngestResult]:
    """Take in those of a wave that are plain; by the id of each. Those without a result are for `ingest_in`, in order.

    Of several with one idempotency key, the first counts.
    """
    now = runtime.clock.now()
    claims: dict[str, Claimed] = {}
    for one in wave:
        for key, claim in one.claim().items():
            claims.setdefault(key, claim)
    seen = await claim_keys(conn, claims, now)
    firsts = [one for one in wave if _is_first(one, claims) and one.event.idempotency_key not in seen]
    people = await resolve_plain(
        conn, runtime.clock, [Said(one.keys, one.event.contact_properties) for one in firsts]
    )
    plain = [(one, contact) for one, contact in zip(firsts, people, strict=True) if contact is not None]
    results = await _store_and_react(conn, runtime, plain, now)
    left = [one for one in firsts if one.id not in results]
    await give_up(conn, [given for one in left if (given := one.event.idempotency_key) is not None])
    taken = seen | {key: claim for key, claim in claims.items() if claim.event_id in results}
    for one in wave:
        first = taken.get(one.event.idempotency_key or "")
        if first is not None and one.id not in results:
            results[one.id] = _seen_before(conn, first.event_id)
    return results


def _is_first(one: Incoming, claims: Mapping[str, Claimed]) -> bool:
    key = one.event.idempotency_key
    return key is None or claims[key].event_id == one.id


def _seen_before(conn: AsyncConnection, event_id: UUID) -> IngestResult:
    count_when_committed(conn, DEDUPLICATED.labels("event"))
    return IngestResult(stored=False, event_id=event_id)


async def _store_and_react(
    conn: AsyncConnection, runtime: Runtime, people: Sequence[tuple[Incoming, Contact]], now: datetime
) -> dict[UUID, IngestResult]:
    """Under the subjects' locks that resolving took. By the id of each event."""
    if not people:
        return {}
    arrivals = await _store(conn, people, now)
    runtime.fault_point("ingest_after_event")
    exits, enrollments = await react(conn, runtime, arrivals)
    await _capture(conn, runtime, people)
    runtime.fault_point("before_ingest_commit")
    return {
        arrival.event.id: IngestResult(
            True, arrival.event.id, arrival.contact["id"], tuple(ended), tuple(verdicts)
        )
        for arrival, ended, verdicts in zip(arrivals, exits, enrollments, strict=True)
    }


async def react(
    conn: AsyncConnection, runtime: Runtime, arrivals: Sequence[Arrival]
) -> tuple[list[list[Exit]], list[list[Enrollment]]]:
    """Everything that stored events set in motion, of each in this order: exits, waits, enrollments."""
    exits = await meet_live_runs(conn, runtime, arrivals)
    return exits, await enroll_matching(conn, runtime, arrivals)


async def _store(
    conn: AsyncConnection, people: Sequence[tuple[Incoming, Contact]], now: datetime
) -> list[Arrival]:
    rows = [
        {
            "id": one.id,
            "contact_id": contact["id"],
            "name": one.event.name,
            "properties": dict(one.event.properties),
            "source": one.event.source,
            "idempotency_key": one.event.idempotency_key,
            "occurred_at": one.event.occurred_at or now,
            "received_at": now,
            "depth": one.event.depth,
            "chain": one.event.chain,
        }
        for one, contact in people
    ]
    seqs = {row.id: row.seq for row in await conn.execute(_APPENDED, _APPEND.given(rows))}
    lines = [
        activity.Line(
            at=row["occurred_at"],
            kind=ActivityKind.EVENT,
            type="received",
            ref_id=row["id"],
            contact_id=row["contact_id"],
        )
        for row in rows
    ]
    await activity.record_all(conn, lines)
    for _ in rows:
        count_when_committed(conn, EVENTS)
    return [
        Arrival(Event.of(row | {"seq": seqs[row["id"]]}), contact, one.trace)
        for row, (one, contact) in zip(rows, people, strict=True)
    ]


async def _capture(
    conn: AsyncConnection, runtime: Runtime, people: Sequence[tuple[Incoming, Contact]]
) -> None:
    """Send what did not come from PostHog there, where a key for it is set."""
    if runtime.settings.posthog_api_key is None:
        return
    captures = [
        OutboxMessage(CAPTURE, {"event_id": str(one.id)})
        for one, _ in people
        if one.event.source != "posthog"
    ]
    await publish_all(conn, runtime.clock, captures)
