"""Preparing a send: refused or not, its message frozen. The first of the send protocol's three transactions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

import structlog
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.consent.suppression import refusal
from hogsend.decisions.ledger import record_decision
from hogsend.decisions.reasons import Kind, Reason
from hogsend.emails.sending.compose import Composed, compose
from hogsend.emails.sending.request import SendRequest
from hogsend.emails.tracking.delivery_events import record_fact
from hogsend.runtime import Runtime
from hogsend.storage.database import Record
from hogsend.tables.emails import email_links, email_sends

log = structlog.get_logger(__name__)

SENDS = UUID("5f0c6a4e-2a8d-4c53-9d0e-6a9d3f1b7c10")


@dataclass(frozen=True)
class PreparedSend:
    """The row that a request became, or was before. `refusal`: why nothing will be sent, or None."""

    email_id: UUID
    status: str
    refusal: Reason | None
    created: bool


def email_id_for(send_key: str) -> UUID:
    return uuid5(SENDS, send_key)


async def prepare(
    conn: AsyncConnection, runtime: Runtime, contact: Record | None, request: SendRequest
) -> PreparedSend:
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
    await decide_send(conn, row, Kind.SUPPRESSED if refused else Kind.SEND, refused or request.reason, now)
    return PreparedSend(email_id, str(row["status"]), refused, True)


def _compose(
    runtime: Runtime, email_id: UUID, contact: Record | None, to: str, request: SendRequest
) -> Composed:
    person: Record = (
        contact if contact is not None else {"id": None, "external_id": None, "email": to, "properties": {}}
    )
    reader = {**person, "email": to}
    return compose(runtime, request, email_id=email_id, contact=reader, journey_id=request.journey_id)


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


async def _prepared_before(conn: AsyncConnection, email_id: UUID) -> PreparedSend:
    row = (
        await conn.execute(
            select(email_sends.c.status, email_sends.c.refusal).where(email_sends.c.id == email_id)
        )
    ).one()
    return PreparedSend(email_id, row.status, Reason(row.refusal) if row.refusal else None, False)


async def decide_send(
    conn: AsyncConnection,
    row: Record,
    kind: Kind,
    reason: Reason,
    at: datetime,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """One verdict about a send, in the ledger."""
    await record_decision(
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
