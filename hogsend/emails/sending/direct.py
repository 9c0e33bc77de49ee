"""Sends that a caller asks for, outside journeys: one email now, or a failed one again. Queued, never sent in line."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.access.idempotency import input_hash, reused
from hogsend.consent.suppression import TRANSACTIONAL
from hogsend.contacts.lookup import find, find_by, lock_contact
from hogsend.decisions.reasons import Reason
from hogsend.emails.sending.job import deliver_later
from hogsend.emails.sending.prepare import PreparedSend, prepare
from hogsend.emails.sending.request import EmailRequest, SendRequest
from hogsend.emails.templates.jinja import RenderError
from hogsend.errors import Conflict, InvalidInput, NotFound
from hogsend.runtime import Runtime
from hogsend.storage.database import Record
from hogsend.storage.metadata import new_id
from hogsend.tables.contacts import contacts
from hogsend.tables.emails import email_sends
from hogsend.validation import check_email, check_mailbox, check_properties, check_text

RETRIABLE = ("failed", "bounced")
TEST = "test"
"""Category of the test of a transactional template."""
_sends = email_sends.c


def check_send(runtime: Runtime, asked: EmailRequest) -> None:
    """Raise `InvalidInput` for the first field that is wrong; `TemplateNotFound` is one."""
    check_text("template", asked.template, 200)
    runtime.templates.get(asked.template)
    if not asked.to and not asked.user_id:
        raise InvalidInput("to", "Say whom to send to: to or userId is required")
    if asked.to is not None:
        check_email("to", asked.to)
    if asked.reply_to is not None:
        check_email("replyTo", asked.reply_to)
    if asked.from_email is not None:
        check_mailbox("from", asked.from_email)
    for name, value, longest in (
        ("userId", asked.user_id, 512),
        ("subject", asked.subject, 998),
        ("category", asked.category, 100),
    ):
        if value is not None:
            check_text(name, value, longest)
            if "\n" in value or "\r" in value:
                raise InvalidInput(name, f"{name} must be one line")
    check_properties("props", asked.props)


def request_of_test(runtime: Runtime, template: str, to: str, props: Mapping[str, Any]) -> EmailRequest:
    """A template to be looked at in a mailbox. Raises `TemplateNotFound`.

    Nobody waits for it as for a receipt: an opt-out stops it, as one of the template's own category does.
    """
    tried = runtime.templates.get(template)
    category = TEST if tried.category == TRANSACTIONAL else tried.category
    return EmailRequest(
        template=template, to=to, props=props, subject=f"[Test] {tried.name}", category=category
    )


async def send_in(
    conn: AsyncConnection, runtime: Runtime, asked: EmailRequest, *, key: str | None, reason: Reason
) -> PreparedSend:
    """Prepare one email and queue its delivery, in the caller's transaction.

    `key` makes it one send for ever; without one it is a new send each time. Raises `InvalidInput`, `NotFound`
    (a `user_id` that nobody has) and `Conflict` (somebody without an address).
    """
    check_send(runtime, asked)
    contact = await _recipient(conn, asked)
    if contact is not None and not (asked.to or contact["email"]):
        raise NotFound("Email address")
    send_key = f"api:{key}" if key else f"api:{new_id()}"
    hashed = input_hash(vars(asked))
    request = SendRequest(**vars(asked), send_key=send_key, reason=reason, request_hash=hashed)
    try:
        prepared = await prepare(conn, runtime, contact, request)
    except RenderError as error:
        raise InvalidInput("props", error.message, code="RENDERING_FAILED") from error
    if not prepared.created:
        await _check_same(conn, prepared.email_id, hashed)
    elif prepared.refusal is None:
        await deliver_later(conn, runtime, prepared.email_id)
    return prepared


async def _check_same(conn: AsyncConnection, email_id: UUID, hashed: str) -> None:
    """Raise `InvalidInput` where a key's send was asked for in other words: it is another email."""
    first = await conn.execute(select(_sends.request_hash).where(_sends.id == email_id))
    if first.scalar_one() not in (None, hashed):
        raise reused()


async def _recipient(conn: AsyncConnection, asked: EmailRequest) -> Record | None:
    """The contact, locked: what is prepared for it is then seen by a merge, and moves with it."""
    if asked.user_id is not None:
        named = await find(conn, asked.user_id)
        contact = None if named is None else await lock_contact(conn, named["id"])
        if contact is None:
            raise NotFound("Contact")
        return contact
    found = await find_by(conn, email=asked.to)
    return None if found is None else await lock_contact(conn, found["id"])


async def resend_in(conn: AsyncConnection, runtime: Runtime, email_id: UUID) -> PreparedSend:
    """Render a failed or bounced email again and queue it, as a new send that names the old one.

    Raises `NotFound`; `Conflict` where it is neither failed nor bounced, was resent already, or has no template.
    The old row is locked, so two resends at once are one; its contact before it, as everywhere.
    """
    owner = (await conn.execute(select(_sends.contact_id).where(_sends.id == email_id))).scalar_one_or_none()
    if owner is not None:
        await lock_contact(conn, owner)
    old = (
        (await conn.execute(select(email_sends).where(_sends.id == email_id).with_for_update()))
        .mappings()
        .one_or_none()
    )
    if old is None:
        raise NotFound("Email")
    again = (
        await conn.execute(
            select(
                func.count().label("all"),
                func.count().filter(_sends.status.not_in(RETRIABLE)).label("standing"),
            ).where(_sends.resend_of == email_id)
        )
    ).one()
    if old["status"] not in RETRIABLE or again.standing:
        raise Conflict("Email is not in a retriable status", code="NOT_RETRIABLE")
    if old["template_key"] is None:
        raise Conflict("Email has no template to re-render", code="NO_TEMPLATE")
    contact = None
    if old["contact_id"] is not None:
        contact = (
            (await conn.execute(select(contacts).where(contacts.c.id == old["contact_id"]))).mappings().one()
        )
    request = SendRequest(
        send_key=f"resend:{email_id}:{again.all}",
        template=old["template_key"],
        reason=Reason.OPERATOR_ASKED,
        to=_resent_to(old, contact),
        subject=(old["explicit"] or {}).get("subject"),
        props=old["props"],
        category=old["category"],
        from_email=old["from_email"],
        reply_to=old["reply_to"],
        journey_id=old["journey_id"],
        event_id=old["event_id"],
        resend_of=email_id,
    )
    prepared = await prepare(conn, runtime, contact, request)
    if prepared.refusal is None:
        await deliver_later(conn, runtime, prepared.email_id)
    return prepared


def _resent_to(old: Record, contact: Record | None) -> str:
    """Where the original went; where that was the contact's own address, the one that it has now."""
    if (old["explicit"] or {}).get("to"):
        return str(old["to_email"])
    return (contact["email"] if contact else None) or str(old["to_email"])


class SendStatus(StrEnum):
    """What became of a send, in the words of the data plane."""

    QUEUED = "queued"
    SENT = "sent"
    SUPPRESSED = "suppressed"
    UNSUBSCRIBED = "unsubscribed"
    SKIPPED = "skipped"


def send_status(prepared: PreparedSend) -> SendStatus:
    """What became of a send, for the caller who asked for it."""
    match prepared.refusal:
        case None:
            return SendStatus.QUEUED if prepared.status in ("queued", "rendered") else SendStatus.SENT
        case Reason.UNSUBSCRIBED_FROM_ALL | Reason.UNSUBSCRIBED_FROM_CATEGORY:
            return SendStatus.UNSUBSCRIBED
        case Reason.ADDRESS_BOUNCED | Reason.ADDRESS_COMPLAINED | Reason.SUPPRESSED_BY_OPERATOR:
            return SendStatus.SUPPRESSED
    return SendStatus.SKIPPED
