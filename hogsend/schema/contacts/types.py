"""Contacts on the wire."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated, Any, ClassVar
from uuid import UUID

import strawberry
from sqlalchemy import RowMapping
from strawberry.scalars import JSON

from hogsend.access.caller import Scope
from hogsend.contacts.lookup import find, find_by
from hogsend.graphql import ids
from hogsend.graphql.connections import connection
from hogsend.graphql.context import Context, Info
from hogsend.graphql.enums import described_enum
from hogsend.graphql.fields import described, field, query
from hogsend.graphql.links import row_by_key
from hogsend.graphql.node import Node, bare_uuid
from hogsend.graphql.sorting import SortOrder
from hogsend.schema.contacts.collections import CONTACTS, PREFERENCES
from hogsend.schema.contacts.timeline import TimelineKind, timeline_of
from hogsend.schema.decisions.collections import DECISIONS
from hogsend.schema.emails.collections import EMAILS
from hogsend.schema.events.collections import EVENTS
from hogsend.schema.journeys.collections import STATES
from hogsend.schema.refs import StatusRef
from hogsend.storage.collections import Selection
from hogsend.tables.contacts import contact_preferences
from hogsend.tables.decisions import decisions
from hogsend.tables.emails import email_sends
from hogsend.tables.events import user_events
from hogsend.tables.journeys import journey_states


@strawberry.input(one_of=True, description="A contact by any of its keys: give exactly one.")
class ContactBy:
    id: strawberry.Maybe[strawberry.ID] = strawberry.field(description="Its id, or its bare UUID.")
    external_id: strawberry.Maybe[str] = strawberry.field(description="The id that your product knows it by.")
    email: strawberry.Maybe[str] = strawberry.field(description="Its email address, in any case.")
    ref: strawberry.Maybe[str] = strawberry.field(
        description="Its UUID or its externalId, as REST paths take it."
    )


async def find_contact(context: Context, by: ContactBy) -> RowMapping | None:
    """The row of the live contact that `by` names; one that was merged answers as its survivor."""
    async with context.connection() as conn:
        if by.ref is not None:
            found: Any = await find(conn, by.ref.value)
        elif by.id is not None:
            key = ids.uuid_of(by.id.value, Contact.prefix)
            found = None if key is None else await find_by(conn, id=key)
        elif by.external_id is not None:
            found = await find_by(conn, external_id=by.external_id.value)
        else:
            assert by.email is not None, "@oneOf: exactly one is given"
            found = await find_by(conn, email=by.email.value)
    return found  # type: ignore[no-any-return]


@strawberry.type(description="What a contact agreed to, and whether it may be written to.")
class ContactPreferences(Node):
    prefix: ClassVar[str] = "preferences"
    collection = PREFERENCES

    contact_id: strawberry.Private[UUID]
    email: str = strawberry.field(description="The address that this is about.")
    unsubscribed_all: bool = strawberry.field(description="Wants no email but transactional ones.")
    suppressed: bool = strawberry.field(description="Is not written to at all, whatever it agreed to.")
    bounce_count: int = strawberry.field(description="How often an email to it bounced.")
    categories: JSON = strawberry.field(
        description="`{category: subscribed}`; what is not named is subscribed."
    )
    suppressed_at: datetime | None = strawberry.field(description="When it was suppressed.")
    last_bounce_at: datetime | None = strawberry.field(description="When an email to it last bounced.")
    created_at: datetime = strawberry.field(description="When something was first noted here.")
    updated_at: datetime = strawberry.field(description="When something last changed here.")

    uuid = bare_uuid()

    @field("The contact's externalId, or its UUID where it has none.")
    async def user_id(self, info: Info) -> str:
        return await user_id(info.context, self.contact_id) or str(self.contact_id)


async def user_id(context: Context, contact_id: UUID | None) -> str | None:
    """What the wire calls a contact: its externalId, or else its UUID; also where it was deleted."""
    if contact_id is None:
        return None
    row = await row_by_key(context, CONTACTS, contact_id)
    return (row["external_id"] if row is not None else None) or str(contact_id)


@strawberry.type(description="A person.")
class Contact(Node):
    prefix: ClassVar[str] = "contact"
    collection = CONTACTS

    deleted_at: strawberry.Private[datetime | None]
    external_id: str | None = strawberry.field(description="The id that your product knows it by.")
    email: str | None = strawberry.field(description="Its email address, trimmed and lower-cased.")
    anonymous_id: str | None = strawberry.field(description="What it was known by before it was identified.")
    properties: JSON = strawberry.field(description="What your product told about it.")
    first_seen_at: datetime = strawberry.field(description="When it was first heard of.")
    last_seen_at: datetime = strawberry.field(description="When it last did something.")
    created_at: datetime = strawberry.field(description="When it was made.")
    updated_at: datetime = strawberry.field(description="When it last changed.")

    @property
    def shown(self) -> bool:
        return self.deleted_at is None

    uuid = bare_uuid()

    @field("Its externalId, or its UUID where it has none.")
    def user_id(self) -> str:
        return self.external_id or str(self.key)

    @field("What it agreed to; null where nothing was ever noted.")
    async def preferences(self, info: Info) -> ContactPreferences | None:
        row = await row_by_key(info.context, PREFERENCES, self.key, contact_preferences.c.contact_id)
        return None if row is None else ContactPreferences.of(row)

    @connection("entry", description="Everything that happened to it, newest first.")
    def timeline(
        self,
        types: Annotated[list[TimelineKind] | None, described("Only entries of these kinds.")] = None,
        milestones: Annotated[
            bool,
            described("One entry for each event, run and email, where it began, instead of each change."),
        ] = False,
    ) -> Selection:
        return timeline_of(self.key, types, first_only=milestones)

    @connection("event", description="What was reported about it, newest first.")
    def events(self, name: Annotated[str | None, described("Only events of this name.")] = None) -> Selection:
        return EVENTS.under(user_events.c.contact_id, self.key).filtered(name=name)

    @connection("state", description="Its runs of journeys, newest first.")
    def journey_states(
        self,
        status: Annotated[list[StatusRef] | None, described("Only runs in one of these statuses.")] = None,
    ) -> Selection:
        statuses = None if status is None else [one.value for one in status]
        return STATES.under(journey_states.c.contact_id, self.key).filtered(statuses=statuses)

    @connection("email", description="What was sent to it, or kept back, newest first.")
    def emails(self) -> Selection:
        return EMAILS.under(email_sends.c.contact_id, self.key)

    @connection("decision", description="Every verdict about it, newest first: why, and why not.")
    def decisions(self) -> Selection:
        return DECISIONS.under(decisions.c.contact_id, self.key)


@strawberry.input(description="Which contacts.")
class ContactFilter:
    search: str | None = strawberry.field(
        default=None, description="A part of the email or of the externalId, in any case."
    )


class ContactSort(Enum):
    LAST_SEEN_AT = "last_seen_at"
    CREATED_AT = "created_at"


described_enum(
    ContactSort,
    "ContactSort",
    "What contacts are sorted by.",
    {
        ContactSort.LAST_SEEN_AT: "When they last did something.",
        ContactSort.CREATED_AT: "When they were made.",
    },
)


@strawberry.type
class ContactQuery:
    @query(description="One contact, by any of its keys; null where there is none.")
    async def contact(
        self, info: Info, by: Annotated[ContactBy, described("Which contact.")]
    ) -> Contact | None:
        row = await find_contact(info.context, by)
        return None if row is None else Contact.of(row)

    @connection("contact", scope=Scope.READ, description="Contacts that are not deleted.")
    def contacts(
        self,
        filter: Annotated[ContactFilter | None, described("Which contacts; all unless told.")] = None,
        sort: Annotated[ContactSort, described("What they are sorted by.")] = ContactSort.LAST_SEEN_AT,
        order: Annotated[SortOrder, described("Which way.")] = SortOrder.DESC,
    ) -> Selection:
        wanted = filter or ContactFilter()
        found = CONTACTS.all().filtered(search=wanted.search or None)
        return found.sorted(sort.value, descending=order is SortOrder.DESC)
