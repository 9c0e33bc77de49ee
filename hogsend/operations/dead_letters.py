"""Retry what could not be done, or discard it: what a person settles, settled once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, RowMapping, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.access.audit import audit
from hogsend.access.idempotency import NO_KEY, Claim, ClaimConflict
from hogsend.deadletters.actions import resolve_dead_letters
from hogsend.decisions.reasons import Reason
from hogsend.emails.sending.reopen import reopen_one
from hogsend.engine.outbox import JOB, publish_later
from hogsend.errors import Conflict, InvalidInput, NotFound
from hogsend.operations.stuck_runs import resume_in
from hogsend.runtime import Runtime
from hogsend.storage.database import lock_subjects
from hogsend.tables.deadletters import SOURCES, DeadLetterSource, DeadLetterStatus, dead_letters
from hogsend.tables.emails import email_sends
from hogsend.tables.engine import jobs
from hogsend.tables.journeys import STUCK_STATUSES, journey_states, journey_steps

MOST_AT_ONCE = 500
NOT_PENDING = "DLQ entry is not pending"

_letters = dead_letters.c
_sends = email_sends.c
_states = journey_states.c
_jobs = jobs.c


@dataclass(frozen=True)
class DeadLetterRetry:
    """Which entries to retry: those named, or the oldest pending ones, of `source` where it is given."""

    ids: tuple[UUID, ...] | None = None
    source: str | None = None
    limit: int = 100


@dataclass(frozen=True)
class Retries:
    """`retried` are queued (in a dry run: would be tried); `refused` says why each of the others is not."""

    retried: Sequence[UUID]
    refused: Mapping[UUID, str]

    @classmethod
    def of_json(cls, kept: Mapping[str, Any]) -> Retries:
        return cls(
            [UUID(key) for key in kept.get("retried", [])],
            {UUID(key): why for key, why in kept.get("refused", {}).items()},
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "retried": [str(key) for key in self.retried],
            "refused": {str(key): why for key, why in self.refused.items()},
        }


async def retry(runtime: Runtime, entry_id: UUID, claim: Claim = NO_KEY) -> datetime:
    """Queue what the entry stands for again. Called twice at once, one has the effect; `claim` keeps its `id`.

    Returns when, in product time. Raises `NotFound`, and `Conflict` where it is not pending, or where what it stands
    for has moved on since.
    """

    async with runtime.database.transaction() as conn:
        at = await retry_in(conn, runtime, entry_id)
        await audit(conn, resource_id=entry_id, before={"status": "pending"}, after={"status": "retried"})
        await claim.answer(conn, {"id": str(entry_id)})
    return at


async def retry_many(
    runtime: Runtime, wish: DeadLetterRetry, claim: Claim = NO_KEY, *, dry_run: bool = False
) -> Retries:
    """Retry each entry in a transaction of its own; one that is refused does not stop the others.

    A crash leaves some retried and the others pending, so the same call can simply be made again: with the same key
    it answers for all of them.
    """
    _check(wish)
    if dry_run:
        async with runtime.database.read() as conn:
            return await _chosen(conn, wish)
    return await _retry_each(runtime, wish, claim)


async def discard(runtime: Runtime, entry_id: UUID) -> None:
    """Settle the entry without doing anything; its row stays. Raises `NotFound` and `Conflict`."""
    async with runtime.database.transaction() as conn:
        await _pending(conn, entry_id)
        now = runtime.clock.now()
        await conn.execute(
            update(dead_letters).where(_letters.id == entry_id).values(status="discarded", updated_at=now)
        )
        await audit(conn, resource_id=entry_id, before={"status": "pending"}, after={"status": "discarded"})


async def retry_in(conn: AsyncConnection, runtime: Runtime, entry_id: UUID) -> datetime:
    """`retry` in the caller's transaction. Locks the person, then the run, the send or the job, then the entry."""
    letter = await _find(conn, entry_id)
    match letter["source"]:
        case DeadLetterSource.EMAIL:
            await _retry_email(conn, runtime, letter)
        case DeadLetterSource.JOURNEY:
            await _retry_journey(conn, runtime, letter)
        case DeadLetterSource.WEBHOOK:
            await _retry_job(conn, runtime, letter)
    now = runtime.clock.now()
    await resolve_dead_letters(
        conn, now, DeadLetterSource(letter["source"]), [letter["source_id"]], DeadLetterStatus.RETRIED
    )
    return now


async def _retry_email(conn: AsyncConnection, runtime: Runtime, letter: RowMapping) -> None:
    email_id = _uuid(letter, "email")
    send = (await conn.execute(_send(email_id))).one_or_none()
    if send is None:
        raise _gone("email")
    await _lock_run(conn, send.contact_id, send.state_id)
    send = (await conn.execute(_send(email_id).with_for_update())).one()
    await _pending(conn, letter["id"])
    if send.refusal == Reason.OUTCOME_UNKNOWN.value and await _is_blocked_on_it(conn, send):
        # The run stands at this send: it sends it again, and goes on behind it.
        await resume_in(conn, runtime, send.state_id)
        return
    await reopen_one(conn, runtime, email_id)


async def _retry_journey(conn: AsyncConnection, runtime: Runtime, letter: RowMapping) -> None:
    state_id = _uuid(letter, "run")
    found = await conn.execute(select(_states.contact_id).where(_states.id == state_id))
    contact_id = found.scalar_one_or_none()
    if contact_id is None:
        raise _gone("run")
    await _lock_run(conn, contact_id, state_id)
    await _pending(conn, letter["id"])
    await resume_in(conn, runtime, state_id)


async def _retry_job(conn: AsyncConnection, runtime: Runtime, letter: RowMapping) -> None:
    job_id = _uuid(letter, "job")
    status = (
        await conn.execute(select(_jobs.status).where(_jobs.id == job_id).with_for_update())
    ).scalar_one_or_none()
    await _pending(conn, letter["id"])
    if status is None:
        raise _gone("job")
    if status != "dead":
        raise Conflict("The job runs again already", code="MOVED_ON")
    await conn.execute(
        update(jobs)
        .where(_jobs.id == job_id)
        .values(status="pending", attempts=0, run_at=runtime.clock.wall(), finished_at=None, error=None)
    )
    await publish_later(conn, runtime.clock, JOB, {"job_id": str(job_id)})


def _send(email_id: UUID) -> Any:
    return select(_sends.contact_id, _sends.state_id, _sends.step_key, _sends.refusal).where(
        _sends.id == email_id
    )


async def _lock_run(conn: AsyncConnection, contact_id: UUID | None, state_id: UUID | None) -> None:
    """In the order in which a delivery locks: the person, the run, and only then the send."""
    if contact_id is not None:
        await lock_subjects(conn, [contact_id])
    if state_id is not None:
        await conn.execute(select(_states.id).where(_states.id == state_id).with_for_update())


async def _is_blocked_on_it(conn: AsyncConnection, send: Row[Any]) -> bool:
    """Whether a run stands still because nobody knows what became of this send."""
    stands = (
        select(_states.id)
        .join(journey_steps, journey_steps.c.state_id == _states.id)
        .where(
            _states.id == send.state_id,
            _states.status.in_(STUCK_STATUSES),
            _states.ended_reason == Reason.OUTCOME_UNKNOWN.value,
            journey_steps.c.key == send.step_key,
            journey_steps.c.status == "open",
        )
    )
    return (await conn.execute(stands)).first() is not None


async def _find(conn: AsyncConnection, entry_id: UUID, *, lock: bool = False) -> RowMapping:
    query = select(dead_letters).where(_letters.id == entry_id)
    found = await conn.execute(query.with_for_update() if lock else query)
    letter = found.mappings().one_or_none()
    if letter is None:
        raise NotFound("DLQ entry")
    return letter


async def _pending(conn: AsyncConnection, entry_id: UUID) -> None:
    """Lock the entry, and raise `Conflict` where somebody has settled it."""
    letter = await _find(conn, entry_id, lock=True)
    if letter["status"] != "pending":
        raise Conflict(NOT_PENDING, code="NOT_PENDING")


def _uuid(letter: RowMapping, thing: str) -> UUID:
    try:
        return UUID(letter["source_id"] or "")
    except ValueError:
        raise _gone(thing) from None


def _gone(thing: str) -> Conflict:
    return Conflict(f"The {thing} that it stands for is gone", code="MOVED_ON")


def _check(wish: DeadLetterRetry) -> None:
    if wish.ids is not None and wish.source is not None:
        raise InvalidInput("ids", "Give ids or source, not both")
    if wish.ids is not None and not 1 <= len(wish.ids) <= MOST_AT_ONCE:
        raise InvalidInput("ids", f"ids must hold 1 to {MOST_AT_ONCE} entries")
    if wish.source is not None and wish.source not in SOURCES:
        raise InvalidInput("source", f"source must be one of {', '.join(SOURCES)}")
    if not 1 <= wish.limit <= MOST_AT_ONCE:
        raise InvalidInput("limit", f"limit must be 1 to {MOST_AT_ONCE}")


async def _chosen(conn: AsyncConnection, wish: DeadLetterRetry) -> Retries:
    """The entries that are meant, and why some of them cannot be retried."""
    query = select(_letters.id, _letters.status)
    if wish.ids is None:
        query = query.where(_letters.status == "pending").order_by(_letters.created_at, _letters.id)
        query = query.where(_letters.source == wish.source) if wish.source is not None else query
        query = query.limit(wish.limit)
    else:
        query = query.where(_letters.id.in_(wish.ids))
    found = {row.id: row.status for row in (await conn.execute(query)).all()}
    order = list(dict.fromkeys(wish.ids)) if wish.ids is not None else list(found)
    refused = {
        entry_id: NOT_PENDING if entry_id in found else "DLQ entry not found"
        for entry_id in order
        if found.get(entry_id) != "pending"
    }
    return Retries([entry_id for entry_id in order if entry_id not in refused], refused)


async def _retry_each(runtime: Runtime, wish: DeadLetterRetry, claim: Claim) -> Retries:
    earlier = Retries.of_json(claim.progress)
    retried, refused = list(earlier.retried), dict(earlier.refused)
    async with runtime.database.read() as conn:
        chosen = await _chosen(conn, wish)
    refused |= {entry_id: why for entry_id, why in chosen.refused.items() if entry_id not in retried}
    # Those named are all there; of the oldest, as many as the first call had left.
    done = {*retried, *refused}
    left = [entry_id for entry_id in chosen.retried if entry_id not in done]
    for entry_id in left if wish.ids is not None else left[: max(0, wish.limit - len(done))]:
        try:
            async with runtime.database.transaction() as conn:
                await retry_in(conn, runtime, entry_id)
                await claim.keep(conn, Retries([*retried, entry_id], refused).to_json())
        except ClaimConflict:
            raise
        except (Conflict, NotFound) as error:
            refused[entry_id] = error.message
        else:
            retried.append(entry_id)
        runtime.fault_point("after_dead_letter_retry")
    async with runtime.database.transaction() as conn:
        await audit(conn, detail={"retried": len(retried), "refused": len(refused)})
    return Retries(retried, refused)
