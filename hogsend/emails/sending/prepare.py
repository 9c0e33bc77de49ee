"""Preparing a send: refused or not, its message frozen. The first of the send protocol's three transactions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.addresses import delivery_address
from hogsend.consent.refusal import SendRefusal, refusal
from hogsend.decisions.ledger import NewDecision, record_decision
from hogsend.decisions.reasons import DecisionKind, Reason
from hogsend.emails.sending.compose import Composed, compose
from hogsend.emails.sending.request import SendRequest
from hogsend.emails.tracking.delivery_events import record_fact
from hogsend.runtime import Runtime
from hogsend.storage.database import Record
from hogsend.storage.metadata import secret_id
from hogsend.tables.emails import email_links, email_sends
from hogsend.telemetry.counters import DEDUPLICATED, count_when_committed

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class PreparedSend:
    """The row that a request became, or was before. `refusal`: why nothing will be sent, or None."""

    email_id: UUID
    status: str
    refusal: Reason | None
    created: bool


async def prepared_for(conn: AsyncConnection, send_key: str) -> UUID | None:
    """The id of the send with this key, or None where none is prepared yet."""
    found = await conn.execute(select(email_sends.c.id).where(email_sends.c.send_key == send_key))
    email_id: UUID | None = found.scalar_one_or_none()
    return email_id


async def prepare(
    conn: AsyncConnection, runtime: Runtime, contact: Record | None, request: SendRequest
) -> PreparedSend:
    """Decide about one send and freeze its message, in the caller's transaction.

    A refused send has a row too, `failed` with its reason, so that every intent can be found again. Raises
    `RenderError` or `TemplateNotFound` from rendering: then nothing was written.

    The id is random, since whoever knows it can open the pixel; what makes it one send is `send_key`.
    """
    email_id = secret_id()
    to = delivery_address(request.to or (contact["email"] if contact else None) or "")
    own_address = contact is not None and contact["email"] == to
    composed = _compose(runtime, email_id, contact, to, request, own_address)
    refused = await refusal(
        conn, contact_id=contact["id"] if contact else None, email=to, category=composed.category
    )
    if not to:
        refused = SendRefusal(Reason.NO_EMAIL_ADDRESS)
    now = runtime.clock.now()
    reason = None if refused is None else refused.reason
    row = _row(runtime, email_id, contact, to, request, composed, reason)
    row["explicit"] = _explicit(request, own_address)
    written = await conn.execute(
        pg_insert(email_sends)
        .values(row)
        .on_conflict_do_nothing(index_elements=["send_key"])
        .returning(email_sends.c.id)
    )
    if written.scalar_one_or_none() is None:
        count_when_committed(conn, DEDUPLICATED.labels("send"))
        return await _prepared_before(conn, request.send_key)
    if refused is None and composed.links:
        await conn.execute(
            pg_insert(email_links),
            [
                {"id": link.id, "email_id": email_id, "position": link.position, "url": link.url}
                for link in composed.links
            ],
        )
    await record_fact(conn, email_id=email_id, type="failed" if refused else "queued", at=now)
    if refused is None:
        await decide_send(conn, row, DecisionKind.SEND, request.reason, now)
    else:
        await decide_send(conn, row, DecisionKind.SUPPRESSED, refused.reason, now, detail=refused.detail())
    return PreparedSend(email_id, str(row["status"]), reason, True)


def _explicit(request: SendRequest, own_address: bool) -> dict[str, str]:
    """What was asked for beside the template. The contact's own address is not: a resend follows the contact."""
    asked = {
        "to": None if own_address else request.to,
        "subject": request.subject,
        "from": request.from_email,
        "reply_to": request.reply_to,
        "category": request.category,
    }
    return {name: value for name, value in asked.items() if value is not None}


def _compose(
    runtime: Runtime,
    email_id: UUID,
    contact: Record | None,
    to: str,
    request: SendRequest,
    own_address: bool,
) -> Composed:
    person: Record = (
        contact if contact is not None else {"id": None, "external_id": None, "email": to, "properties": {}}
    )
    reader = {**person, "email": to}
    return compose(
        runtime,
        request,
        email_id=email_id,
        contact=reader,
        journey_id=request.journey_id,
        own_address=own_address,
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
        "from_email": composed.message.from_email,
        "to_email": to,
        "reply_to": request.reply_to,
        "subject": composed.message.subject,
        "props": dict(request.props),
        "payload": None if refused else composed.message.to_json(),
        "status": "failed" if refused else "queued",
        "refusal": refused.value if refused else None,
        "next_attempt_at": None if refused else runtime.clock.wall(),
        "provider": runtime.provider.name,
        "resend_of": request.resend_of,
        "request_hash": request.request_hash,
        "created_at": now,
        "updated_at": now,
    }


async def _prepared_before(conn: AsyncConnection, send_key: str) -> PreparedSend:
    sends = email_sends.c
    row = (
        await conn.execute(select(sends.id, sends.status, sends.refusal).where(sends.send_key == send_key))
    ).one()
    return PreparedSend(row.id, row.status, Reason(row.refusal) if row.refusal else None, False)


async def decide_send(
    conn: AsyncConnection,
    row: Record,
    kind: DecisionKind,
    reason: Reason,
    at: datetime,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """One verdict about a send, in the ledger."""
    await record_decision(
        conn,
        at,
        NewDecision(
            kind=kind,
            reason=reason,
            detail={"template": row["template_key"], "to": row["to_email"], **(detail or {})},
            contact_id=row["contact_id"],
            journey_id=row["journey_id"],
            state_id=row["state_id"],
            event_id=row["event_id"],
            email_id=row["id"],
        ),
    )
