"""Check of the books: each trigger event is decided once for each journey that listens, each send decision has its
send, each send ends. What does not hold is a row of `invariant_findings`.

A pass looks at the lines of the activity log that are new, in order of their numbers, a bounded batch at a time. A
number may be handed out before one that commits earlier, so a pass goes as far as the log went ten minutes before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import ARRAY, Text, bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.decisions.reasons import DecisionKind
from hogsend.runtime import Runtime
from hogsend.storage.metadata import new_id
from hogsend.tables.alerts import invariant_findings, invariant_progress
from hogsend.tables.decisions import decisions
from hogsend.tables.emails import UNDER_WAY, email_sends
from hogsend.tables.events import user_events
from hogsend.tables.journeys import journey_versions
from hogsend.tables.realtime import ActivityKind, activity

log = structlog.get_logger(__name__)

SETTLED_AFTER = timedelta(minutes=10)
"""Real time after which no transaction that has a number is still open."""
DEPLOYED_FOR = timedelta(minutes=10)
"""Product time for which a version of a journey must have been known before an event is held against it."""
LONGEST_SEND = timedelta(hours=25)
"""Real time. A provider forgets its keys after 24 hours; nothing is retried by itself after that."""
BATCH = 2_000
MOST_LATE = 500

_findings, _progress, _activity = invariant_findings.c, invariant_progress.c, activity.c
_events, _decisions, _sends = user_events.c, decisions.c, email_sends.c
_ENTRY = (DecisionKind.ENROLLED.value, DecisionKind.SKIPPED.value)


@dataclass(frozen=True)
class Finding:
    """One thing that does not hold. A second pass that finds it again keeps the first row."""

    kind: str
    subject: str
    event_id: UUID | None = None
    decision_id: UUID | None = None
    email_id: UUID | None = None
    journey_id: str | None = None


async def check_invariants(runtime: Runtime) -> None:
    """Check what is new, look again at what was found, and keep what does not hold; a scheduled task."""
    await _recheck(runtime)
    await _keep(runtime, await _sends_without_end(runtime))
    while await _check_batch(runtime):
        pass


async def _check_batch(runtime: Runtime) -> bool:
    """One batch of the log, in one transaction with how far it came. False where nothing is left to check now."""
    async with runtime.database.transaction() as conn:
        progress = await _progress_locked(conn, runtime)
        if progress is None:
            return False
        checked, upto = progress
        lines = select(_activity.seq, _activity.kind, _activity.type, _activity.ref_id).where(
            _activity.seq > checked, _activity.seq <= upto
        )
        batch = (await conn.execute(lines.order_by(_activity.seq).limit(BATCH))).all()
        events = [row.ref_id for row in batch if (row.kind, row.type) == (ActivityKind.EVENT, "received")]
        sends = [
            row.ref_id for row in batch if (row.kind, row.type) == (ActivityKind.DECISION, DecisionKind.SEND)
        ]
        found = [*await _undecided(conn, runtime, events), *await _unsent(conn, sends)]
        await _write(conn, runtime, found)
        whole = len(batch) < BATCH
        reached = upto if whole else batch[-1].seq
        await conn.execute(update(invariant_progress).values(checked_seq=reached))
        return not whole


async def _progress_locked(conn: AsyncConnection, runtime: Runtime) -> tuple[int, int] | None:
    """From where to where to check: up to the end of the log as it was noted at least ten minutes ago.

    Where all of that is checked, today's end is noted for a later pass. The first pass begins with what comes after it.
    """
    wall = runtime.clock.wall()
    end = (await conn.execute(select(func.coalesce(func.max(_activity.seq), 0)))).scalar_one()
    first = {"id": 1, "checked_seq": end, "noted_seq": end, "noted_at": wall}
    await conn.execute(insert(invariant_progress).values(first).on_conflict_do_nothing())
    row = (await conn.execute(select(invariant_progress).with_for_update())).one()
    if abs(wall - row.noted_at) < SETTLED_AFTER:
        return None
    if row.checked_seq >= row.noted_seq:
        await conn.execute(update(invariant_progress).values(noted_seq=end, noted_at=wall))
        return None
    return row.checked_seq, row.noted_seq


async def _undecided(conn: AsyncConnection, runtime: Runtime, event_ids: Sequence[UUID]) -> list[Finding]:
    """Trigger events that some journey did not decide on, or decided on twice."""
    listened = [journey.trigger.event for journey in runtime.registry.all()]
    if not event_ids or not listened:
        return []
    known_since = await _known_since(conn, runtime)
    stored = select(_events.id, _events.name, _events.received_at, _events.depth).where(
        _events.id == func.any(_array(event_ids, PG_UUID(as_uuid=True))), _events.name.in_(listened)
    )
    triggers = (await conn.execute(stored)).all()
    decided = await _times_decided(conn, [event.id for event in triggers])
    found = []
    for event in triggers:
        for journey in runtime.registry.listening_to(event.name):
            times = decided[event.id, journey.id]
            since = known_since.get(journey.id)
            expected = since is not None and event.received_at >= since + DEPLOYED_FOR
            if times == 1 or (times == 0 and not expected):
                continue
            kind = "event_decided_twice" if times else "event_without_decision"
            subject = f"{event.id}:{journey.id}"
            found.append(Finding(kind, subject, event_id=event.id, journey_id=journey.id))
    return found


async def _known_since(conn: AsyncConnection, runtime: Runtime) -> Mapping[str, Any]:
    """Since when (product time) today's version of each journey has been seen."""
    versions = journey_versions.c
    seen = await conn.execute(select(versions.journey_id, versions.version, versions.first_seen_at))
    today = {journey.id: journey.version for journey in runtime.registry.all()}
    return {row.journey_id: row.first_seen_at for row in seen if today.get(row.journey_id) == row.version}


async def _times_decided(conn: AsyncConnection, event_ids: Sequence[UUID]) -> Mapping[tuple[UUID, str], int]:
    """How often each event was decided on by each journey, replays left out."""
    first = func.coalesce(_decisions.detail["replayed"].as_boolean(), False).is_(False)
    counted = (
        select(_decisions.event_id, _decisions.journey_id, func.count().label("times"))
        .where(
            _decisions.event_id == func.any(_array(event_ids, PG_UUID(as_uuid=True))),
            _decisions.kind.in_(_ENTRY),
            first,
        )
        .group_by(_decisions.event_id, _decisions.journey_id)
    )
    times: dict[tuple[UUID, str], int] = defaultdict(int)
    for row in await conn.execute(counted):
        times[row.event_id, row.journey_id] = row.times
    return times


def _array(values: Iterable[Any], kind: Any) -> Any:
    return bindparam(None, list(values), type_=ARRAY(kind))


# Of these send decisions: those whose send is not there, and those that are not the only one of their send. A retry
# that an operator asked for is another decision about the same send.
_DECIDED_SENDS = text("""
SELECT d.id, d.email_id, d.journey_id, s.id AS send,
       (SELECT count(*) FROM decisions AS other WHERE other.email_id = d.email_id AND other.kind = :kind
         AND NOT coalesce((other.detail ->> 'retried')::boolean, false)) AS times
FROM decisions AS d LEFT JOIN email_sends AS s ON s.id = d.email_id
WHERE d.id = ANY (:ids) AND NOT coalesce((d.detail ->> 'retried')::boolean, false)
""").bindparams(bindparam("ids", type_=ARRAY(PG_UUID(as_uuid=True))), bindparam("kind", type_=Text))


async def _unsent(conn: AsyncConnection, decision_ids: Sequence[UUID]) -> list[Finding]:
    """Send decisions that have no send, or share one."""
    if not decision_ids:
        return []
    decided = await conn.execute(_DECIDED_SENDS, {"ids": list(decision_ids), "kind": DecisionKind.SEND.value})
    found = []
    for row in decided:
        if row.send is None:
            found.append(
                Finding("decision_without_send", str(row.id), decision_id=row.id, journey_id=row.journey_id)
            )
        elif row.times > 1:
            found.append(
                Finding(
                    "send_decided_twice",
                    str(row.send),
                    decision_id=row.id,
                    email_id=row.send,
                    journey_id=row.journey_id,
                )
            )
    return found


async def _sends_without_end(runtime: Runtime) -> list[Finding]:
    """Sends that are still under way long after whatever could be retried; the oldest 500."""
    async with runtime.database.read() as conn:
        late = [
            row
            for status in UNDER_WAY
            for row in await conn.execute(
                select(_sends.id, _sends.journey_id)
                .where(_sends.status == status, _sends.created_at < _long_ago(runtime))
                .order_by(_sends.created_at)
                .limit(MOST_LATE)
            )
        ]
    return [
        Finding("send_without_end", str(row.id), email_id=row.id, journey_id=row.journey_id) for row in late
    ]


def _long_ago(runtime: Runtime) -> Any:
    return runtime.clock.now() - runtime.clock.product(LONGEST_SEND)


async def _keep(runtime: Runtime, found: Collection[Finding]) -> None:
    async with runtime.database.transaction() as conn:
        await _write(conn, runtime, found)


async def _write(conn: AsyncConnection, runtime: Runtime, found: Collection[Finding]) -> None:
    """Keep these, in the caller's transaction. One that was found before stays as it was."""
    if not found:
        return
    now = runtime.clock.now()
    rows = [{"id": new_id(), "found_at": now, **vars(one)} for one in found]
    written = await conn.execute(
        insert(invariant_findings)
        .values(rows)
        .on_conflict_do_nothing(index_elements=["kind", "subject"])
        .returning(_findings.id)
    )
    if new := len(written.all()):
        log.error("invariants_broken", findings=new, kinds=sorted({one.kind for one in found}))


async def _recheck(runtime: Runtime) -> None:
    """Settle the findings that hold again: a send that ended, an event that was replayed."""
    ended = ~select(_sends.id).where(_sends.id == _findings.email_id, _sends.status.in_(UNDER_WAY)).exists()
    decided = (
        select(_decisions.id)
        .where(
            _decisions.event_id == _findings.event_id,
            _decisions.journey_id == _findings.journey_id,
            _decisions.kind.in_(_ENTRY),
        )
        .exists()
    )
    now = runtime.clock.now()
    for kind, holds in (("send_without_end", ended), ("event_without_decision", decided)):
        async with runtime.database.transaction() as conn:
            await conn.execute(
                update(invariant_findings)
                .where(_findings.kind == kind, _findings.settled_at.is_(None), holds)
                .values(settled_at=now)
            )
