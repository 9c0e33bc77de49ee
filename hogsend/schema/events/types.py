"""Events on the wire."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated, Any, ClassVar
from uuid import UUID

import strawberry
from sqlalchemy import RowMapping
from strawberry.scalars import JSON

from hogsend.access.audit import Action, Resource
from hogsend.access.caller import Scope
from hogsend.events.event import NewEvent
from hogsend.graphql.connections import connection
from hogsend.graphql.context import Context, Info
from hogsend.graphql.enums import described_enum
from hogsend.graphql.fields import described, field, query
from hogsend.graphql.mutations import UserError, mutation
from hogsend.graphql.node import Node, by_key, link
from hogsend.ingestion.ingest import IngestResult, ingest
from hogsend.schema.contacts.types import Contact, user_id
from hogsend.schema.decisions.collections import DECISIONS
from hogsend.schema.emails.collections import EMAILS
from hogsend.schema.events.collections import EVENTS
from hogsend.schema.journeys.collections import STATES
from hogsend.schema.refs import StateRef
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

    @classmethod
    def of(cls, row: RowMapping) -> Event:
        return cls(
            key=row["id"],
            contact_id=row["contact_id"],
            name=row["name"],
            properties=row["properties"],
            occurred_at=row["occurred_at"],
            received_at=row["received_at"],
            source=row["source"],
        )

    @field("The bare UUID.")
    def uuid(self) -> UUID:
        assert isinstance(self.key, UUID)
        return self.key

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


@strawberry.input(
    description="An event to take in. One of `userId`, `email`, `anonymousId` says whose it is."
)
class EventIngestInput:
    name: str = strawberry.field(description="What happened, e.g. `project.created`.")
    user_id: str | None = strawberry.field(default=None, description="The externalId of the person.")
    email: str | None = strawberry.field(default=None, description="The email address of the person.")
    anonymous_id: str | None = strawberry.field(
        default=None, description="What the person is known by before that."
    )
    event_properties: JSON | None = strawberry.field(
        default=None, description="An object that tells more about it."
    )
    contact_properties: JSON | None = strawberry.field(
        default=None, description="An object to merge into the contact's properties; null removes a key."
    )
    timestamp: datetime | None = strawberry.field(
        default=None, description="When it happened; now unless told."
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="A key seen before changes nothing and answers `stored: false`."
    )

    def to_ingest(self) -> NewEvent:
        return NewEvent(
            name=self.name,
            external_id=self.user_id,
            email=self.email,
            anonymous_id=self.anonymous_id,
            properties=_object(self.event_properties),
            contact_properties=_object(self.contact_properties),
            occurred_at=self.timestamp,
            idempotency_key=self.idempotency_key,
        )


class EventIngestErrorCode(Enum):
    INVALID = "invalid"


described_enum(
    EventIngestErrorCode,
    "EventIngestErrorCode",
    "What can be wrong with an event.",
    {EventIngestErrorCode.INVALID: "A field has a value that it does not take."},
)


@strawberry.type(description="A run that listens for the event to end it.")
class EventExit:
    journey_id: str = strawberry.field(description="The author's id of the journey.")
    exited: bool = strawberry.field(description="False where the event does not fit the exit's conditions.")
    state_id: strawberry.Private[UUID]

    @field("The run.")
    async def state(self, info: Info) -> StateRef | None:
        return await link(info.context, "state", self.state_id)  # type: ignore[no-any-return]


@strawberry.type(description="What `eventIngest` did.")
class EventIngestPayload:
    stored: bool | None = strawberry.field(
        default=None, description="False where the idempotency key was seen before: then nothing changed."
    )
    event: Event | None = strawberry.field(default=None, description="The event, as it was stored first.")
    exits: list[EventExit] | None = strawberry.field(default=None, description="The runs that it could end.")
    user_errors: list[UserError[EventIngestErrorCode]] = strawberry.field(
        default_factory=list, description="What is wrong with the input; empty where all is well."
    )


def _object(value: Any) -> dict[str, Any]:
    """Leave what is not an object to ingestion's own check, which says so."""
    return {} if value is None else value


async def ingested(context: Context, result: IngestResult) -> EventIngestPayload:
    return EventIngestPayload(
        stored=result.stored,
        event=await by_key(context, Event, result.event_id),
        exits=[
            EventExit(journey_id=one.journey_id, state_id=one.state_id, exited=one.exited)
            for one in result.exits
        ],
    )


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


@strawberry.type
class EventMutation:
    @mutation(
        scope=Scope.INGEST,
        payload=EventIngestPayload,
        codes=EventIngestErrorCode,
        audit_action=(Action.CREATE, Resource.EVENT),
        description="Take an event in, with everything that follows from it, in one transaction.",
    )
    async def event_ingest(
        self, info: Info, input: Annotated[EventIngestInput, described("The event.")]
    ) -> EventIngestPayload:
        return await ingested(info.context, await ingest(info.context.runtime, input.to_ingest()))
