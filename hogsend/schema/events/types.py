"""Events on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from hogsend.access.caller import Scope
from hogsend.graphql.connections import connection
from hogsend.graphql.context import Context, Info
from hogsend.graphql.fields import described, field, query
from hogsend.graphql.node import Node, bare_uuid, link
from hogsend.schema.contacts.types import Contact, user_id
from hogsend.schema.decisions.collections import DECISIONS
from hogsend.schema.emails.collections import EMAILS
from hogsend.schema.events.collections import EVENTS
from hogsend.schema.journeys.collections import STATES
from hogsend.storage.collections import Selection
from hogsend.tables.decisions import decisions
from hogsend.tables.emails import email_sends
from hogsend.tables.journeys import journey_states


@strawberry.type(description="Something that a person did, as it was reported.")
class Event(Node):
    prefix: ClassVar[str] = "event"
    collection = EVENTS

    contact_id: strawberry.Private[UUID | None]
    name: str = strawberry.field(description="What happened, e.g. `project.created`.")
    properties: JSON = strawberry.field(description="What was told about it.")
    occurred_at: datetime = strawberry.field(description="When it happened.")
    received_at: datetime = strawberry.field(description="When Hogsend heard of it.")
    source: str = strawberry.field(description="Where it came from: `api`, `posthog`, `journey`, `enroll` …")

    uuid = bare_uuid()

    @field("The contact's externalId, or its UUID where it has none.")
    async def user_id(self, info: Info) -> str | None:
        return await self.known_as(info.context)

    async def known_as(self, context: Context) -> str | None:
        return await user_id(context, self.contact_id)

    @field("Who did it; null where the contact was deleted.")
    async def contact(self, info: Info) -> Contact | None:
        return await link(info.context, "contact", self.contact_id)  # type: ignore[no-any-return]

    @connection(
        "decision", description="Every journey that saw it, with its verdict, and what else it led to."
    )
    def decisions(self) -> Selection:
        return DECISIONS.under(decisions.c.event_id, self.key).sorted("recorded", descending=False)

    @connection("state", description="The runs that it began, newest first.")
    def states(self) -> Selection:
        return STATES.under(journey_states.c.trigger_event_id, self.key)

    @connection("email", description="The emails that it caused, newest first.")
    def emails(self) -> Selection:
        return EMAILS.under(email_sends.c.event_id, self.key)


@strawberry.input(description="Which events.")
class EventFilter:
    user_id: str | None = strawberry.field(
        default=None, description="Of the contact with this externalId or UUID."
    )
    name: str | None = strawberry.field(default=None, description="Of this name.")
    from_: datetime | None = strawberry.field(
        default=None, name="from", description="That happened then or later."
    )
    to: datetime | None = strawberry.field(default=None, description="That happened then or earlier.")

    def narrow(self, selection: Selection) -> Selection:
        return selection.filtered(user_id=self.user_id, name=self.name, from_=self.from_, to=self.to)


@strawberry.type
class EventQuery:
    @query(description="One event; null where there is none.")
    async def event(
        self, info: Info, id: Annotated[strawberry.ID, described("Its id, or its bare UUID.")]
    ) -> Event | None:
        return await Event.fetch(info.context, id)  # type: ignore[return-value]

    @connection("event", scope=Scope.READ, description="Events, the newest first by when they happened.")
    def events(
        self, filter: Annotated[EventFilter | None, described("Which events; all unless told.")] = None
    ) -> Selection:
        return (filter or EventFilter()).narrow(EVENTS.all())
