"""Lists of emails, of what became of them, and of the addresses that are not written to."""

from __future__ import annotations

from sqlalchemy import ColumnElement

from hogsend.contacts.lookup import id_of
from hogsend.storage.collections import Collection, between, equals
from hogsend.tables.emails import email_events, email_links, email_sends, suppressions

_s = email_sends.c
_e = email_events.c


def _engaged(what: str) -> ColumnElement[bool]:
    return email_sends.c[f"{what}_at"].is_not(None)


EMAILS = Collection.of(
    "emails",
    "email",
    email_sends,
    leaving_out=(_s.payload, _s.props, _s.lease_until, _s.lease_owner, _s.send_key),
    sorts={
        "created_at": _s.created_at,
        "sent_at": _s.sent_at,
        "opened_at": _s.opened_at,
        "clicked_at": _s.clicked_at,
    },
    filters={
        **equals(_s.to_email, _s.template_key, _s.category, _s.status, _s.journey_id),
        **between(_s.created_at),
        "user_id": lambda ref: _s.contact_id == id_of(ref),
        "engagement": _engaged,
    },
)
HISTORY = Collection.of(
    "history",
    "activity",
    email_events,
    sorts=_e.at,
    filters={"types": lambda types: _e.type.in_(types)},
    descending=False,
)
CLICKS = Collection.of(
    "clicks",
    "click",
    email_events,
    sorts=_e.at,
    where=(_e.type == "clicked",),
    descending=False,
    counted=_e["count"],
)
LINKS = Collection.of("links", "link", email_links, sorts=email_links.c.position, descending=False)
SUPPRESSIONS = Collection.of(
    "suppressions",
    "suppression",
    suppressions,
    sorts=suppressions.c.created_at,
    filters=equals(suppressions.c.type),
)
