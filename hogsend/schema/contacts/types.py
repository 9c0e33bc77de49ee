"""Contacts in the schema."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Annotated, Any
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from hogsend.access.caller import Scope
from hogsend.contacts.lookup import naming
from hogsend.graphql import ids
from hogsend.graphql.context import Context, Info
from hogsend.graphql.enums import WireEnum, wire_enum
from hogsend.graphql.fields import attribute, described, optional, query, wire_type
from hogsend.graphql.links import row_by_key
from hogsend.graphql.mapping import Filter
from hogsend.graphql.node import Node, bare_uuid
from hogsend.graphql.rows import Argument, Through, rows, through, to_one, worked_out
from hogsend.schema.contacts.collections import CONTACTS, PREFERENCES, TIMELINE
from hogsend.schema.contacts.timeline import TIMELINE_ARGUMENTS
from hogsend.schema.decisions.collections import DECISIONS
from hogsend.schema.emails.collections import EMAILS
from hogsend.schema.events.collections import EVENTS
from hogsend.schema.journeys.collections import STATES
from hogsend.schema.journeys.enums import STATUS_ARGUMENT
from hogsend.storage.compiled import CompiledStatement
from hogsend.storage.database import Record
from hogsend.tables.contacts import contact_preferences
from hogsend.tables.decisions import decisions
from hogsend.tables.emails import email_sends
from hogsend.tables.events import user_events
from hogsend.tables.journeys import journey_states
from hogsend.tables.realtime import activity


@strawberry.input(one_of=True, description="A contact by one of its keys: give exactly one field.")
class ContactBy:
    id: strawberry.Maybe[strawberry.ID] = attribute("Global id, or bare UUID.")
    external_id: strawberry.Maybe[str] = attribute("externalId: the id in your product.")
    email: strawberry.Maybe[str] = attribute("Email address, in any case.")
    ref: strawberry.Maybe[str] = attribute("UUID or externalId, as REST paths take it.")


async def find_contact(context: Context, by: ContactBy) -> Record | None:
    """The row of the live contact that `by` names; one that was merged answers as its survivor."""
    if by.ref is not None:
        named = naming(ref=by.ref.value)
    elif by.id is not None:
        key = ids.uuid_of(by.id.value, Contact.prefix)
        if key is None:
            return None
        named = naming(id=key)
    elif by.external_id is not None:
        named = naming(external_id=by.external_id.value)
    else:
        assert by.email is not None, "@oneOf: exactly one is given"
        named = naming(email=by.email.value)
    statement = _compiled(named[0])
    found = await context.fetch(statement.sql, statement.values(named[1]))
    return found[0] if found else None


_compiled = cache(CompiledStatement.of)


async def user_id(context: Context, contact_id: UUID | None) -> str | None:
    """What the wire calls a contact: its externalId, or else its UUID; also where it was deleted."""
    if contact_id is None:
        return None
    return _USER_ID.make(contact_id, await row_by_key(context, CONTACTS, contact_id))  # type: ignore[no-any-return]


def user_id_of_contact(kind: Any = str | None) -> Any:
    """The field `user_id` of a type with a `contact_id`."""
    return through(kind, "The contact's externalId, or its UUID where it has none.", _USER_ID)


_USER_ID = Through(
    CONTACTS,
    "contact_id",
    ("external_id",),
    lambda key, row: (row["external_id"] if row is not None else None) or str(key),
)


@wire_type("Email preferences of a contact, and whether its address is suppressed.")
class ContactPreferences(Node, collection=PREFERENCES):
    contact_id: strawberry.Private[UUID]
    email: str = attribute("Email address that they apply to.")
    unsubscribed_all: bool = attribute("Whether the contact unsubscribed from all but transactional emails.")
    suppressed: bool = attribute(
        "Whether the address is suppressed: not written to at all, whatever the contact agreed to."
    )
    bounce_count: int = attribute("Number of emails to the address that bounced.")
    categories: JSON = attribute(
        "Subscription by category, `{category: subscribed}`; categories not named are subscribed."
    )
    suppressed_at: datetime | None = attribute("When the address was suppressed.")
    last_bounce_at: datetime | None = attribute("When an email to the address last bounced.")
    created_at: datetime = attribute("When they were first recorded.")
    updated_at: datetime = attribute("When they last changed.")

    uuid = bare_uuid()

    user_id = user_id_of_contact(str)


@wire_type("A contact: a person that your product reported about.")
class Contact(Node, collection=CONTACTS):
    deleted_at: strawberry.Private[datetime | None]
    external_id: str | None = attribute("Id of the person in your product.")
    email: str | None = attribute("Email address, trimmed and lower-cased.")
    anonymous_id: str | None = attribute("Id from before the person was identified.")
    properties: JSON = attribute("Properties that your product reported.")
    first_seen_at: datetime = attribute("When it was first seen.")
    last_seen_at: datetime = attribute("When it was last seen: the time of its latest event.")
    created_at: datetime = attribute("When it was created.")
    updated_at: datetime = attribute("When it last changed.")

    hidden_by = "deleted_at"

    uuid = bare_uuid()

    user_id = worked_out(
        str,
        "Its externalId, or its UUID where it has none.",
        "external_id",
        "key",
        make=lambda external_id, key: external_id or str(key),
    )
    preferences = to_one(
        "preferences",
        "key",
        "Its email preferences; null where none were ever recorded.",
        column=contact_preferences.c.contact_id,
    )

    timeline = rows(
        TIMELINE,
        activity.c.contact_id,
        description="Its timeline: everything that happened to it, newest first.",
        arguments=TIMELINE_ARGUMENTS,
    )
    events = rows(
        EVENTS,
        user_events.c.contact_id,
        description="Its events, newest first by when they happened.",
        arguments={"name": Argument(str | None, "Only events with this name.")},
    )
    journey_states = rows(
        STATES,
        journey_states.c.contact_id,
        description="Its runs of journeys, newest first.",
        arguments={"status": STATUS_ARGUMENT},
    )
    emails = rows(
        EMAILS, email_sends.c.contact_id, description="Emails to it, sent or withheld, newest first."
    )
    decisions = rows(DECISIONS, decisions.c.contact_id, description="Decisions about it, newest first.")


@strawberry.input(description="Filter of contacts: all given fields must match.")
class ContactFilter(Filter, filters={"search": lambda text: text or None}):
    search: str | None = optional("Part of the email address or of the externalId, in any case.")


@wire_enum("Sort field of contacts.")
class ContactSort(WireEnum):
    LAST_SEEN_AT = "last_seen_at", "When the contact was last seen."
    CREATED_AT = "created_at", "When the contact was created."


@strawberry.type
class ContactQuery:
    @query(description="A contact by one of its keys; null where there is none.")
    async def contact(
        self, info: Info, by: Annotated[ContactBy, described("The contact's key.")]
    ) -> Contact | None:
        row = await find_contact(info.context, by)
        return None if row is None else Contact.of(row)

    contacts = rows(
        CONTACTS,
        scope=Scope.READ,
        filter=ContactFilter,
        sorts=ContactSort,
        description="Contacts that are not deleted.",
    )
