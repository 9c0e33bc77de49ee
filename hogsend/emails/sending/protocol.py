"""The send protocol: decide and freeze, look once more and count the attempt, record. Nothing is sent twice.

Three transactions, and the wire between the second and the third:

1. `prepare` writes one `email_sends` row for a send key, with the message rendered and frozen.
2. `deliver` looks once more (fence, consent), under the lock of the address; it counts the attempt and notes that
   its outcome is unknown.
3. It calls the provider with the row's id as `Idempotency-Key`: the same key and bytes, however often.
4. It records what came back, whatever became of the run meanwhile, because the wire has no undo.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

import structlog
from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.consent.ledger import address_lock
from hogsend.consent.refusal import SendRefusal, refusal
from hogsend.deadletters.actions import add_dead_letter
from hogsend.decisions.reasons import DecisionKind, Reason
from hogsend.emails.providers import Message, OutcomeUnknown, ProviderRefused, TryLater
from hogsend.emails.sending.prepare import decide_send
from hogsend.emails.sending.retries import KEY_LIFETIME, pause_after
from hogsend.emails.tracking.delivery_events import match_provider_events, record_fact
from hogsend.runtime import Runtime
from hogsend.storage.database import Record, lock_subjects
from hogsend.tables.deadletters import DeadLetterSource
from hogsend.tables.emails import UNDER_WAY, email_sends
from hogsend.telemetry import traces
from hogsend.telemetry.counters import PROVIDER_SECONDS, SENDS, count_when_committed

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=90)


@dataclass(frozen=True)
class SendOutcome:
    """`sent`, `failed` and `unknown` are final. `later` carries `retry_in`, in real time."""

    state: Literal["sent", "failed", "later", "unknown"]
    email_id: UUID
    reason: Reason | None = None
    error: str | None = None
    message_id: str | None = None
    retry_in: timedelta | None = None


class SendOwner:
    """Whoever a send belongs to; this one is nobody: a send that no run drives."""

    async def check(self, conn: AsyncConnection) -> None:
        """Run first in the transaction that counts the attempt; raise to stop it (a fenced run)."""

    async def lock(self, conn: AsyncConnection) -> None:
        """Lock what `on_outcome` will touch, before the row of the send is touched again: one order of locks."""

    async def on_outcome(self, conn: AsyncConnection, outcome: SendOutcome) -> None:
        """Run in the transaction that records a final outcome (a journey closes its step there)."""


NOBODY = SendOwner()


async def deliver(runtime: Runtime, email_id: UUID, owner: SendOwner = NOBODY) -> SendOutcome:
    """Bring one prepared send to its provider. Safe to call again at any time, from anywhere."""
    async with runtime.database.transaction() as conn:
        await _lock_address(conn, email_id)
        await owner.check(conn)
        row: Record = (
            (await conn.execute(select(email_sends).where(email_sends.c.id == email_id).with_for_update()))
            .mappings()
            .one()
        )
        known = await _settled_or_early(conn, runtime, row)
        if known is not None:
            if known.state != "later":
                await owner.on_outcome(conn, known)
            return known
        await _count_attempt(conn, runtime, email_id)
    runtime.fault_point("before_provider_call")
    outcome, was_accepted = await _call_provider(runtime, row)
    runtime.fault_point("after_provider_call")
    async with runtime.database.transaction() as conn:
        row = await _locked_again(conn, row)
        await owner.lock(conn)
        unknown = row["outcome_unknown"] or was_accepted is None
        if not await _record(conn, runtime, row, outcome, unknown=unknown):
            return outcome if outcome.state == "sent" else _superseded(outcome)
        if outcome.state != "later":
            await owner.on_outcome(conn, outcome)
    runtime.fault_point("after_send_recorded")
    return outcome


async def _lock_address(conn: AsyncConnection, email_id: UUID) -> None:
    """A word about the address is either seen by the last look, or spoken after the attempt was counted."""
    to = await conn.execute(select(email_sends.c.to_email).where(email_sends.c.id == email_id))
    await lock_subjects(conn, [address_lock(to.scalar_one())])


async def _locked_again(conn: AsyncConnection, row: Record) -> Record:
    """The send with its address and contact locked; while the wire was busy, a merge may have given it to another.

    A bounce may be waiting to be settled; its suppression needs these locks, and they come before rows.
    """
    await lock_subjects(conn, [address_lock(row["to_email"])])
    contact_id: UUID | None = row["contact_id"]
    while contact_id is not None:
        await lock_subjects(conn, [contact_id])
        owner = select(email_sends.c.contact_id).where(email_sends.c.id == row["id"])
        held, contact_id = contact_id, (await conn.execute(owner)).scalar_one()
        if held == contact_id:
            break
    return {**row, "contact_id": contact_id}


async def _settled_or_early(conn: AsyncConnection, runtime: Runtime, row: Record) -> SendOutcome | None:
    """What is known of this send without calling anyone, or None where the wire is next."""
    wall = runtime.clock.wall()
    email_id = row["id"]
    if row["status"] == "failed":
        reason = Reason(row["refusal"]) if row["refusal"] else Reason.PROVIDER_REFUSED
        return SendOutcome("failed", email_id, reason, row["error"])
    if row["status"] not in UNDER_WAY or row["message_id"] is not None:
        return SendOutcome("sent", email_id, Reason.PROVIDER_ACCEPTED, message_id=row["message_id"])
    if row["lease_until"] is not None and row["lease_until"] > wall:
        return SendOutcome("later", email_id, retry_in=row["lease_until"] - wall)
    # One that was never answered has nothing to wait for: whose clock set its time may have been ahead.
    was_put_off = row["error"] is not None and row["next_attempt_at"] is not None
    if was_put_off and row["next_attempt_at"] > wall:
        return SendOutcome("later", email_id, retry_in=row["next_attempt_at"] - wall)
    if row["first_attempt_at"] is not None and wall - row["first_attempt_at"] > KEY_LIFETIME:
        return await _give_up(conn, runtime, row)
    refused = await refusal(
        conn, contact_id=row["contact_id"], email=row["to_email"], category=row["category"]
    )
    if refused is not None:
        return await _refuse(conn, runtime, row, refused)
    return None


async def _count_attempt(conn: AsyncConnection, runtime: Runtime, email_id: UUID) -> None:
    """From here until an answer is recorded, nobody knows whether the provider has the message."""
    wall = runtime.clock.wall()
    sends = email_sends.c
    await conn.execute(
        update(email_sends)
        .where(sends.id == email_id)
        .values(
            attempts=sends.attempts + 1,
            first_attempt_at=func.coalesce(sends.first_attempt_at, wall),
            lease_until=wall + LEASE,
            lease_owner=runtime.owner,
            outcome_unknown=True,
            updated_at=runtime.clock.now(),
        )
    )


async def _call_provider(runtime: Runtime, row: Record) -> tuple[SendOutcome, bool | None]:
    """The outcome, and whether the provider took the message: None where that cannot be known."""
    provider = runtime.provider.name
    attributes = {"hogsend.provider": provider, "hogsend.email_id": str(row["id"])}
    with traces.span("send email", kind="client", attributes=attributes) as span:
        began = time.perf_counter()
        outcome, was_accepted = await _ask_provider(runtime, row)
        answer = "unknown" if was_accepted is None else outcome.state
        span.note({"hogsend.answer": answer, "hogsend.attempt": row["attempts"] + 1})
    PROVIDER_SECONDS.labels(provider, answer).observe(time.perf_counter() - began)
    return outcome, was_accepted


async def _ask_provider(runtime: Runtime, row: Record) -> tuple[SendOutcome, bool | None]:
    email_id: UUID = row["id"]
    attempt = row["attempts"] + 1
    try:
        message_id = await runtime.provider.send(
            Message.from_json(row["payload"]), idempotency_key=str(email_id)
        )
    except ProviderRefused as error:
        return SendOutcome("failed", email_id, Reason.PROVIDER_REFUSED, error.reason), False
    except TryLater as error:
        wait = max(pause_after(attempt), error.retry_after or timedelta(0))
        return SendOutcome("later", email_id, Reason.RETRYING_SEND, error.reason, retry_in=wait), False
    except OutcomeUnknown as error:
        return SendOutcome(
            "later", email_id, Reason.RETRYING_SEND, error.reason, retry_in=pause_after(attempt)
        ), None
    return SendOutcome("sent", email_id, Reason.PROVIDER_ACCEPTED, message_id=message_id), True


async def _record(
    conn: AsyncConnection, runtime: Runtime, row: Record, outcome: SendOutcome, *, unknown: bool
) -> bool:
    """False where a later attempt has begun: its answer counts. An acceptance counts, however late, unless known."""
    now = runtime.clock.now()
    email_id: UUID = row["id"]
    values: dict[str, Any] = {
        "lease_until": None,
        "lease_owner": None,
        "updated_at": now,
        "error": outcome.error,
    }
    if outcome.state == "later":
        values |= {
            "next_attempt_at": runtime.clock.wall() + (outcome.retry_in or timedelta(0)),
            "outcome_unknown": unknown,
        }
    else:
        values |= {"next_attempt_at": None, "outcome_unknown": False, "message_id": outcome.message_id}
    sends = email_sends.c
    open_still = [sends.id == email_id, sends.message_id.is_(None)]
    if outcome.state != "sent":
        open_still.append(sends.attempts == row["attempts"] + 1)
    recorded = await conn.execute(update(email_sends).where(*open_still).values(values))
    if recorded.rowcount == 0:
        log.warning("late_answer_ignored", email_id=str(email_id), state=outcome.state, error=outcome.error)
        return False
    count_when_committed(conn, SENDS.labels(outcome.state))
    if outcome.state == "later":
        log.warning("send_retried_later", email_id=str(email_id), error=outcome.error)
        return True
    await record_fact(conn, email_id=email_id, type=outcome.state, at=now, detail=outcome.error)
    if outcome.state == "sent" and outcome.message_id is not None:
        await decide_send(conn, row, DecisionKind.SENT, Reason.PROVIDER_ACCEPTED, now)
        await match_provider_events(conn, runtime.clock, outcome.message_id, email_id)
    else:
        await _fail(conn, runtime, row, outcome)
    return True


def _superseded(outcome: SendOutcome) -> SendOutcome:
    return replace(outcome, state="later", reason=Reason.RETRYING_SEND, retry_in=LEASE)


async def _fail(conn: AsyncConnection, runtime: Runtime, row: Record, outcome: SendOutcome) -> None:
    now = runtime.clock.now()
    reason = outcome.reason or Reason.PROVIDER_REFUSED
    await decide_send(conn, row, DecisionKind.SEND_FAILED, reason, now, detail={"error": outcome.error or ""})
    await add_dead_letter(
        conn,
        runtime.clock,
        source=DeadLetterSource.EMAIL,
        source_id=str(row["id"]),
        error=outcome.error or reason.value,
        payload={"emailId": str(row["id"]), "to": row["to_email"], "template": row["template_key"]},
    )


async def abandon(conn: AsyncConnection, runtime: Runtime, email_id: UUID) -> None:
    """Settle a send that nobody will deliver, because its run has ended: nothing goes out any more.

    One whose answer was lost is left to a person, for nobody knows whether it went out. In the caller's
    transaction; does nothing where it is settled already, or is on the wire now.
    """
    free = or_(email_sends.c.lease_until.is_(None), email_sends.c.lease_until <= runtime.clock.wall())
    found = await conn.execute(
        select(email_sends)
        .where(email_sends.c.id == email_id, email_sends.c.status.in_(UNDER_WAY), free)
        .with_for_update()
    )
    row: Record | None = found.mappings().one_or_none()
    if row is None:
        return
    if row["outcome_unknown"]:
        await _give_up(conn, runtime, row)
    else:
        await _refuse(conn, runtime, row, SendRefusal(Reason.RUN_ENDED))


async def _give_up(conn: AsyncConnection, runtime: Runtime, row: Record) -> SendOutcome:
    """Past the life of the provider's key: one more try could be a second email, so a person settles it."""
    unknown = row["outcome_unknown"]
    reason = Reason.OUTCOME_UNKNOWN if unknown else Reason.RETRIES_EXHAUSTED
    error = row["error"] or "the provider did not answer"
    outcome = SendOutcome("unknown" if unknown else "failed", row["id"], reason, error)
    now = runtime.clock.now()
    await conn.execute(
        update(email_sends)
        .where(email_sends.c.id == row["id"])
        .values(next_attempt_at=None, refusal=reason.value, error=error, updated_at=now)
    )
    await record_fact(conn, email_id=row["id"], type="failed", at=now, detail=error)
    await _fail(conn, runtime, row, outcome)
    return outcome


async def _refuse(conn: AsyncConnection, runtime: Runtime, row: Record, refused: SendRefusal) -> SendOutcome:
    now = runtime.clock.now()
    await conn.execute(
        update(email_sends)
        .where(email_sends.c.id == row["id"])
        .values(refusal=refused.reason.value, next_attempt_at=None, updated_at=now)
    )
    await record_fact(conn, email_id=row["id"], type="failed", at=now, detail=refused.reason.value)
    detail = {"earlier_attempts": row["attempts"]} if row["attempts"] else {}
    await decide_send(
        conn, row, DecisionKind.SUPPRESSED, refused.reason, now, detail={**detail, **refused.detail()}
    )
    return SendOutcome("failed", row["id"], refused.reason)
