"""Composing a message: a template rendered for a contact, its links and its pixel tracked. The same bytes each time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from hogsend.consent import tokens
from hogsend.emails.providers import Message
from hogsend.emails.sending.request import EmailRequest
from hogsend.emails.tracking.links import Link, track_links, with_pixel
from hogsend.runtime import Runtime

TRANSACTIONAL = "transactional"

_NOT_TAG = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True)
class Composed:
    """A message, and what the send's row says of it besides: its category and tracked links."""

    message: Message
    category: str | None
    links: list[Link]


def compose(
    runtime: Runtime,
    request: EmailRequest,
    *,
    email_id: UUID,
    contact: Mapping[str, Any],
    journey_id: str | None = None,
    own_address: bool = True,
) -> Composed:
    """Write one email. Pure CPU, and the same for the same arguments at the same instant.

    `contact` has `id` (None for an address that nobody holds), `external_id`, `email` and `properties`. What is
    requested outranks what the template says. Not `own_address`: the email goes to an address that is not the
    contact's, whose reader does not speak for the contact. Raises `TemplateNotFound` and `RenderError`.
    """
    category = request.category or runtime.templates.get(request.template).category
    base = runtime.settings.base_url
    ways = _ways_out(runtime, email_id, contact if own_address else {**contact, "id": None}, category)
    given = {"contact": _person(contact), "props": dict(request.props), "base_url": base, **ways}
    rendered = runtime.templates.render(request.template, given)
    page, links = track_links(rendered.html, email_id, base, runtime.settings.secret_key)
    message = Message(
        to=str(contact["email"]),
        from_email=_one_line(request.from_email or runtime.settings.email_from),
        subject=_one_line(request.subject or rendered.subject),
        html=with_pixel(page, f"{base}/v1/t/o/{email_id}"),
        text=rendered.text,
        reply_to=_one_line(request.reply_to) if request.reply_to else None,
        headers=_headers(ways["unsubscribe_url"]),
        tags=_tags(email_id, request.template, category, journey_id),
    )
    return Composed(message, category, links)


def _one_line(text: str) -> str:
    """A header is one line, whatever was rendered into it."""
    return " ".join(text.split())


def _ways_out(
    runtime: Runtime, email_id: UUID, contact: Mapping[str, Any], category: str | None
) -> dict[str, str | None]:
    """Where this reader can choose. What is transactional cannot be unsubscribed from."""
    reader = tokens.ReaderToken(
        email=str(contact["email"]), contact_id=contact["id"], email_id=email_id, category=category
    )
    token = tokens.issue(runtime.settings.secret_key, runtime.clock, reader)
    pages = f"{runtime.settings.base_url}/v1/email"
    return {
        "preferences_url": f"{pages}/preferences?token={token}",
        "unsubscribe_url": None if category == TRANSACTIONAL else f"{pages}/unsubscribe?token={token}",
    }


def _person(contact: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": str(contact["id"]) if contact["id"] is not None else None,
        "external_id": contact["external_id"],
        "email": contact["email"],
        "properties": dict(contact["properties"] or {}),
    }


def _headers(unsubscribe_url: str | None) -> dict[str, str]:
    """RFC 2369 and RFC 8058: the mail client's own Unsubscribe button, in one click."""
    if unsubscribe_url is None:
        return {}
    return {
        "List-Unsubscribe": f"<{unsubscribe_url}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def _tags(email_id: UUID, template: str, category: str | None, journey_id: str | None) -> dict[str, str]:
    """Providers take ASCII letters, digits, `_` and `-`. `email_id` finds the send before we know its message id."""
    given = {"email_id": str(email_id), "template": template, "category": category, "journey": journey_id}
    return {name: _NOT_TAG.sub("_", value)[:256] for name, value in given.items() if value}
