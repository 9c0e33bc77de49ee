"""The send protocol: decide and freeze, look once more and count the attempt, record. Nothing is sent twice.

Three transactions, and the wire between the second and the third:

1. `prepare` writes one `email_sends` row for a send key, with the message rendered and frozen.
2. `deliver` looks once more (fence, suppression), counts the attempt and notes that its outcome is unknown.
3. It calls the provider with the row's id as `Idempotency-Key`: the same key and bytes, however often.
4. It records what came back, whatever became of the run meanwhile, because the wire has no undo.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid5

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.deadletters.actions import bury
from hogsend.decisions.actions import decide
from hogsend.decisions.reasons import Kind, Reason
from hogsend.emails.compose import Composed, compose
from hogsend.emails.facts import record_fact, settle_provider_events
from hogsend.emails.providers import Message, OutcomeUnknown, Refused, TryLater
from hogsend.emails.suppression import refusal
from hogsend.emails.tables import email_links, email_sends
from hogsend.runtime import Runtime
from hogsend.storage.database import Record, lock_subjects

log = structlog.get_logger(__name__)

SENDS = UUID("5f0c6a4e-2a8d-4c53-9d0e-6a9d3f1b7c10")
KEY_LIFETIME = timedelta(hours=23)
LEASE = timedelta(seconds=90)
LONGEST_BACKOFF = timedelta(minutes=10)

Guard = Callable[[AsyncConnection], Awaitable[None]]
Settle = Callable[[AsyncConnection, "Outcome"], Awaitable[None]]


@dataclass(frozen=True)
class SendRequest:
    """One intent to send. `send_key` is unique for ever: the same key is the same send."""

    send_key: str
    template: str
    reason: Reason
    to: str | None = None
    props: Mapping[str, Any] = field(default_factory=dict)
    subject: str | None = None
    category: str | None = None
    from_email: str | None = None
    reply_to: str | None = None
    journey_id: str | None = None
    state_id: UUID | None = None
    step_key: str | None = None
    event_id: UUID | None = None
    resend_of: UUID | None = None


@dataclass(frozen=True)
class Prepared:
    """`refusal` is the reason for which nothing will be sent, or None."""

    email_id: UUID
    status: str
    refusal: Reason | None
    created: bool


@dataclass(frozen=True)
class Outcome:
    """`sent`, `failed` and `unknown` are final. `later` carries `retry_in`, in real time."""

    state: Literal["sent", "failed", "later", "unknown"]
    email_id: UUID
    reason: Reason | None = None
    error: str | None = None
    message_id: str | None = None
    retry_in: timedelta | None = None


def email_id_for(send_key: str) -> UUID:
    return uuid5(SENDS, send_key)


async def prepare(
    conn: AsyncConnection, runtime: Runtime, contact: Record | None, request: SendRequest
) -> Prepared:
    """Decide about one send and freeze its message, in the caller's transaction.

    A refused send has a row too, `failed` with its reason, so that every intent can be found again. Raises
    `RenderError` or `TemplateNotFound` from rendering: then nothing was written.
    """
    email_id = email_id_for(request.send_key)
    to = (request.to or (contact["email"] if contact else None) or "").strip().lower()
    composed = _compose(runtime, email_id, contact, to, request)
    refused = await refusal(
        conn, contact_id=contact["id"] if contact else None, email=to, category=composed.category
    )
    if not to:
        refused = Reason.NO_EMAIL_ADDRESS
    now = runtime.clock.now()
    row = _row(runtime, email_id, contact, to, request, composed, refused)
    written = await conn.execute(
        pg_insert(email_sends).values(row).on_conflict_do_nothing().returning(email_sends.c.id)
    )
    if written.scalar_one_or_none() is None:
        return await _prepared_before(conn, email_id)
    if refused is None and composed.links:
        await conn.execute(
            pg_insert(email_links),
            [
                {"id": link.id, "email_id": email_id, "position": link.position, "url": link.url}
                for link in composed.links
            ],
        )
    await record_fact(conn, email_id=email_id, type="failed" if refused else "queued", at=now)
    await _decide(conn, row, Kind.SUPPRESSED if refused else Kind.SEND, refused or request.reason, now)
    return Prepared(email_id, str(row["status"]), refused, True)


def _compose(
    runtime: Runtime, email_id: UUID, contact: Record | None, to: str, request: SendRequest
) -> Composed:
    person: Record = (
        contact if contact is not None else {"id": None, "external_id": None, "email": to, "properties": {}}
    )
    return compose(
        runtime,
        email_id=email_id,
        template_key=request.template,
        contact={**person, "email": to},
        props=request.props,
        category=request.category,
        subject=request.subject,
        from_email=request.from_email,
        reply_to=request.reply_to,
        journey_id=request.journey_id,
    )


def _row(
    runtime: Runtime,
    email_id: UUID,
    contact: Record | None,
    to: str,
    request: SendRequest,
    composed: Composed,
    refused: Reason | None,
) -> dict[str, Any]:
    now = runtime.clock.now()
    return {
        "id": email_id,
        "send_key": request.send_key,
        "contact_id": contact["id"] if contact else None,
        "state_id": request.state_id,
        "step_key": request.step_key,
        "journey_id": request.journey_id,
        "event_id": request.event_id,
        "template_key": request.template,
        "category": composed.category,
        "from_email": composed.from_email,
        "to_email": to,
        "reply_to": request.reply_to,
        "subject": composed.subject,
        "props": dict(request.props),
        "payload": None if refused else composed.message.to_json(),
        "status": "failed" if refused else "queued",
        "refusal": refused.value if refused else None,
        "next_attempt_at": None if refused else runtime.clock.wall(),
        "provider": runtime.provider.name,
        "resend_of": request.resend_of,
        "created_at": now,
        "updated_at": now,
    }


async def _prepared_before(conn: AsyncConnection, email_id: UUID) -> Prepared:
    row = (
        await conn.execute(
            select(email_sends.c.status, email_sends.c.refusal).where(email_sends.c.id == email_id)
        )
    ).one()
    return Prepared(email_id, row.status, Reason(row.refusal) if row.refusal else None, False)


async def deliver(
    runtime: Runtime,
    email_id: UUID,
    *,
    guard: Guard | None = None,
    hold: Guard | None = None,
    settle: Settle | None = None,
) -> Outcome:
    """Bring one prepared send to its provider. Safe to call again at any time, from anywhere.

    `guard` runs first in the transaction that counts the attempt and may raise to stop it (a fenced run).
    `hold` locks, before the send's row is touched again, whatever `settle` will touch: rows are locked in one order.
    `settle` runs in the transaction that records a final outcome (a journey closes its step there).
    """
    async with runtime.database.transaction() as conn:
        if guard is not None:
            await guard(conn)
        row: Record = (
            (await conn.execute(select(email_sends).where(email_sends.c.id == email_id).with_for_update()))
            .mappings()
            .one()
        )
        known = await _settled_or_early(conn, runtime, row)
        if known is not None:
            if settle is not None and known.state != "later":
                await settle(conn, known)
            return known
        await _count_attempt(conn, runtime, email_id)
    runtime.crash_at("before_provider_call")
    outcome, was_accepted = await _call_provider(runtime, row)
    runtime.crash_at("after_provider_call")
    async with runtime.database.transaction() as conn:
        row = await _locked_again(conn, row)
        if hold is not None:
            await hold(conn)
        await _record(conn, runtime, row, outcome, unknown=row["outcome_unknown"] or was_accepted is None)
        if settle is not None and outcome.state != "later":
            await settle(conn, outcome)
    runtime.crash_at("after_send_recorded")
    return outcome


async def _locked_again(conn: AsyncConnection, row: Record) -> Record:
    """The send with its contact locked; while the wire was busy, a merge may have given it to another one.

    A bounce may be waiting to be settled; its suppression needs this lock, and it comes before rows.
    """
    contact_id: UUID | None = row["contact_id"]
    while contact_id is not None:
        await lock_subjects(conn, [contact_id])
        owner = select(email_sends.c.contact_id).where(email_sends.c.id == row["id"])
        held, contact_id = contact_id, (await conn.execute(owner)).scalar_one()
        if held == contact_id:
            break
    return {**row, "contact_id": contact_id}


async def _settled_or_early(conn: AsyncConnection, runtime: Runtime, row: Record) -> Outcome | None:
    """What is known of this send without calling anyone, or None where the wire is next."""
    wall = runtime.clock.wall()
    email_id = row["id"]
    if row["status"] == "failed":
        reason = Reason(row["refusal"]) if row["refusal"] else Reason.PROVIDER_REFUSED
        return Outcome("failed", email_id, reason, row["error"])
    if row["status"] not in ("queued", "rendered") or row["message_id"] is not None:
        return Outcome("sent", email_id, Reason.PROVIDER_ACCEPTED, message_id=row["message_id"])
    if row["lease_until"] is not None and row["lease_until"] > wall:
        return Outcome("later", email_id, retry_in=row["lease_until"] - wall)
    if row["next_attempt_at"] is not None and row["next_attempt_at"] > wall:
        return Outcome("later", email_id, retry_in=row["next_attempt_at"] - wall)
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


async def _call_provider(runtime: Runtime, row: Record) -> tuple[Outcome, bool | None]:
    """The outcome, and whether the provider took the message: None where that cannot be known."""
    email_id: UUID = row["id"]
    attempt = row["attempts"] + 1
    try:
        message_id = await runtime.provider.send(
            Message.from_json(row["payload"]), idempotency_key=str(email_id)
        )
    except Refused as error:
        return Outcome("failed", email_id, Reason.PROVIDER_REFUSED, error.reason), False
    except TryLater as error:
        wait = max(_backoff(attempt), error.retry_after or timedelta(0))
        return Outcome("later", email_id, Reason.RETRYING_SEND, error.reason, retry_in=wait), False
    except OutcomeUnknown as error:
        return Outcome(
            "later", email_id, Reason.RETRYING_SEND, error.reason, retry_in=_backoff(attempt)
        ), None
    return Outcome("sent", email_id, Reason.PROVIDER_ACCEPTED, message_id=message_id), True


def _backoff(attempt: int) -> timedelta:
    return min(timedelta(seconds=5 * 2 ** min(attempt - 1, 10)), LONGEST_BACKOFF)


async def _record(
    conn: AsyncConnection, runtime: Runtime, row: Record, outcome: Outcome, *, unknown: bool
) -> None:
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
    await conn.execute(update(email_sends).where(email_sends.c.id == email_id).values(values))
    if outcome.state == "later":
        log.warning("send_retried_later", email_id=str(email_id), error=outcome.error)
        return
    await record_fact(conn, email_id=email_id, type=outcome.state, at=now, detail=outcome.error)
    if outcome.state == "sent" and outcome.message_id is not None:
        await _decide(conn, row, Kind.SENT, Reason.PROVIDER_ACCEPTED, now)
        await settle_provider_events(conn, runtime.clock, outcome.message_id, email_id)
    else:
        await _fail(conn, runtime, row, outcome)


async def _fail(conn: AsyncConnection, runtime: Runtime, row: Record, outcome: Outcome) -> None:
    now = runtime.clock.now()
    reason = outcome.reason or Reason.PROVIDER_REFUSED
    await _decide(conn, row, Kind.SEND_FAILED, reason, now, detail={"error": outcome.error or ""})
    await bury(
        conn,
        runtime.clock,
        source="email",
        source_id=str(row["id"]),
        error=outcome.error or reason.value,
        payload={"emailId": str(row["id"]), "to": row["to_email"], "template": row["template_key"]},
    )


async def _give_up(conn: AsyncConnection, runtime: Runtime, row: Record) -> Outcome:
    """Past the life of the provider's key: one more try could be a second email, so a person settles it."""
    unknown = row["outcome_unknown"]
    reason = Reason.OUTCOME_UNKNOWN if unknown else Reason.RETRIES_EXHAUSTED
    error = row["error"] or "the provider did not answer"
    outcome = Outcome("unknown" if unknown else "failed", row["id"], reason, error)
    now = runtime.clock.now()
    await conn.execute(
        update(email_sends)
        .where(email_sends.c.id == row["id"])
        .values(next_attempt_at=None, refusal=reason.value, error=error, updated_at=now)
    )
    await record_fact(conn, email_id=row["id"], type="failed", at=now, detail=error)
    await _fail(conn, runtime, row, outcome)
    return outcome


async def _refuse(conn: AsyncConnection, runtime: Runtime, row: Record, refused: Reason) -> Outcome:
    now = runtime.clock.now()
    await conn.execute(
        update(email_sends)
        .where(email_sends.c.id == row["id"])
        .values(refusal=refused.value, next_attempt_at=None, updated_at=now)
    )
    await record_fact(conn, email_id=row["id"], type="failed", at=now, detail=refused.value)
    detail = {"earlier_attempts": row["attempts"]} if row["attempts"] else None
    await _decide(conn, row, Kind.SUPPRESSED, refused, now, detail=detail)
    return Outcome("failed", row["id"], refused)


async def _decide(
    conn: AsyncConnection,
    row: Record,
    kind: Kind,
    reason: Reason,
    at: datetime,
    detail: Mapping[str, Any] | None = None,
) -> None:
    await decide(
        conn,
        at=at,
        kind=kind,
        reason=reason,
        detail={"template": row["template_key"], "to": row["to_email"], **(detail or {})},
        contact_id=row["contact_id"],
        journey_id=row["journey_id"],
        state_id=row["state_id"],
        event_id=row["event_id"],
        email_id=row["id"],
    )


async def reopen(conn: AsyncConnection, runtime: Runtime, email_id: UUID) -> None:
    """Let a send of unknown outcome be tried again, on a person's word that it did not arrive.

    Whoever calls this holds the locks of its contact and of its run.
    """
    sends = email_sends.c
    await conn.execute(
        update(email_sends)
        .where(
            sends.id == email_id,
            sends.status == "failed",
            sends.refusal == Reason.OUTCOME_UNKNOWN.value,
        )
        .values(
            status="queued",
            refusal=None,
            error=None,
            outcome_unknown=False,
            first_attempt_at=None,
            next_attempt_at=runtime.clock.wall(),
            updated_at=runtime.clock.now(),
        )
    )
