"""Read sends, what became of them, and who is not written to."""

from __future__ import annotations

from sqlalchemy import ColumnElement

from hogsend.contacts.lookup import id_of
from hogsend.storage.collections import Collection, Sort
from hogsend.tables.emails import email_events, email_links, email_sends, suppressions

_s = email_sends.c
_e = email_events.c
_l = email_links.c
_x = suppressions.c

_UNREAD = {"payload", "props", "lease_until", "lease_owner", "send_key"}


def _engaged(what: str) -> ColumnElement[bool]:
    return email_sends.c[f"{what}_at"].is_not(None)


EMAILS = Collection(
    "emails",
    "email",
    columns=tuple(column for column in email_sends.c if column.key not in _UNREAD),
    key=_s.id,
    sorts={
        "created_at": Sort(_s.created_at),
        "sent_at": Sort(_s.sent_at, nullable=True),
        "opened_at": Sort(_s.opened_at, nullable=True),
        "clicked_at": Sort(_s.clicked_at, nullable=True),
    },
    filters={
        "to_email": lambda email: _s.to_email == email,
        "template_key": lambda key: _s.template_key == key,
        "category": lambda category: _s.category == category,
        "status": lambda status: _s.status == status,
        "journey_id": lambda journey_id: _s.journey_id == journey_id,
        "user_id": lambda ref: _s.contact_id == id_of(ref),
        "engagement": _engaged,
        "from_": lambda instant: _s.created_at >= instant,
        "to": lambda instant: _s.created_at <= instant,
    },
)

HISTORY = Collection(
    "history",
    "activity",
    columns=tuple(email_events.c),
    key=_e.id,
    sorts={"at": Sort(_e.at)},
    filters={"types": lambda types: _e.type.in_(types)},
    descending=False,
)

LINKS = Collection(
    "links",
    "link",
    columns=tuple(email_links.c),
    key=_l.id,
    sorts={"position": Sort(_l.position)},
    descending=False,
)

CLICKS = Collection(
    "clicks",
    "click",
    columns=tuple(email_events.c),
    key=_e.id,
    sorts={"at": Sort(_e.at)},
    where=(_e.type == "clicked",),
    descending=False,
)

SUPPRESSIONS = Collection(
    "suppressions",
    "suppression",
    columns=tuple(suppressions.c),
    key=_x.id,
    sorts={"created_at": Sort(_x.created_at)},
    filters={"type": lambda kind: _x.type == kind},
)
