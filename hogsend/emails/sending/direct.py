"""Send one email outside a journey, and send one again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.contacts.lookup import find, find_by, lock_contact
from hogsend.decisions.reasons import Reason
from hogsend.emails.sending.job import deliver_later
from hogsend.emails.sending.prepare import Prepared, SendRequest, prepare
from hogsend.emails.templates.jinja import RenderError
from hogsend.errors import Conflict, InvalidInput, NotFound
from hogsend.runtime import Runtime
from hogsend.storage.database import Record
from hogsend.storage.metadata import new_id
from hogsend.tables.contacts import contacts
from hogsend.tables.emails import email_sends
from hogsend.validation import check_email, check_properties, check_text

RETRIABLE = ("failed", "bounced")
_sends = email_sends.c


@dataclass(frozen=True)
class EmailRequest:
    """An email to send now. One of `to` and `user_id` (externalId or contact id) says to whom."""

    template: str
    to: str | None = None
    user_id: str | None = None
    props: Mapping[str, Any] = field(default_factory=dict)
    subject: str | None = None
    from_email: str | None = None
    reply_to: str | None = None
    category: str | None = None


def check_send(runtime: Runtime, wish: EmailRequest) -> None:
    """Raise `InvalidInput` for the first field that is wrong; `TemplateNotFound` is one."""
    check_text("template", wish.template, 200)
    runtime.templates.get(wish.template)
    if not wish.to and not wish.user_id:
        raise InvalidInput("to", "Say whom to send to: to or userId is required")
    if wish.to is not None:
        check_email("to", wish.to)
    if wish.reply_to is not None:
        check_email("replyTo", wish.reply_to)
    for name, value, longest in (
        ("userId", wish.user_id, 512),
        ("subject", wish.subject, 998),
        ("from", wish.from_email, 320),
        ("category", wish.category, 100),
    ):
        if value is not None:
            check_text(name, value, longest)
            if "\n" in value or "\r" in value:
                raise InvalidInput(name, f"{name} must be one line")
    check_properties("props", wish.props)


async def send_in(
    conn: AsyncConnection, runtime: Runtime, wish: EmailRequest, *, key: str | None, reason: Reason
) -> Prepared:
    """Prepare one email and queue its delivery, in the caller's transaction.

    `key` makes it one send for ever; without one it is a new send each time. Raises `InvalidInput`, `NotFound`
    (a `user_id` that nobody has) and `Conflict` (somebody without an address).
    """
    check_send(runtime, wish)
    contact = await _recipient(conn, wish)
    if contact is not None and not (wish.to or contact["email"]):
        raise NotFound("Email address")
    request = SendRequest(
        send_key=f"api:{key}" if key else f"api:{new_id()}",
        template=wish.template,
        reason=reason,
        to=wish.to,
        props=wish.props,
        subject=wish.subject,
        category=wish.category,
        from_email=wish.from_email,
        reply_to=wish.reply_to,
    )
    try:
        prepared = await prepare(conn, runtime, contact, request)
    except RenderError as error:
        raise InvalidInput("props", error.message, code="RENDERING_FAILED") from error
    if prepared.created and prepared.refusal is None:
        await deliver_later(conn, runtime, prepared.email_id)
    return prepared


async def _recipient(conn: AsyncConnection, wish: EmailRequest) -> Record | None:
    """The contact, locked: what is prepared for it is then seen by a merge, and moves with it."""
    if wish.user_id is not None:
        named = await find(conn, wish.user_id)
        contact = None if named is None else await lock_contact(conn, named["id"])
        if contact is None:
            raise NotFound("Contact")
        return contact
    found = await find_by(conn, email=wish.to)
    return None if found is None else await lock_contact(conn, found["id"])


async def resend_in(conn: AsyncConnection, runtime: Runtime, email_id: UUID) -> Prepared:
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
        to=(contact["email"] if contact else None) or old["to_email"],
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


class SendStatus(StrEnum):
    """What became of a send, in the words of the data plane."""

    QUEUED = "queued"
    SENT = "sent"
    SUPPRESSED = "suppressed"
    UNSUBSCRIBED = "unsubscribed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Sent:
    """`reason` says why nothing is sent, where nothing is."""

    email_id: UUID
    status: SendStatus
    reason: Reason | None


async def send_one(runtime: Runtime, wish: EmailRequest, *, idempotency_key: str | None) -> Sent:
    """`send_in` for the data plane, in a transaction of its own."""
    async with runtime.database.transaction() as conn:
        prepared = await send_in(conn, runtime, wish, key=idempotency_key, reason=Reason.API_ASKED)
    return Sent(prepared.email_id, send_status(prepared), prepared.refusal)


def send_status(prepared: Prepared) -> SendStatus:
    match prepared.refusal:
        case None:
            return SendStatus.QUEUED if prepared.status in ("queued", "rendered") else SendStatus.SENT
        case Reason.UNSUBSCRIBED_FROM_ALL | Reason.UNSUBSCRIBED_FROM_CATEGORY:
            return SendStatus.UNSUBSCRIBED
        case Reason.ADDRESS_BOUNCED | Reason.ADDRESS_COMPLAINED | Reason.SUPPRESSED_BY_OPERATOR:
            return SendStatus.SUPPRESSED
    return SendStatus.SKIPPED
