"""Events in the schema."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from hogsend.access.caller import Scope
from hogsend.graphql.fields import attribute, optional, wire_type
from hogsend.graphql.mapping import Filter
from hogsend.graphql.node import Node, bare_uuid
from hogsend.graphql.rows import by_id, rows, to_one
from hogsend.schema.contacts.types import user_id_of_contact
from hogsend.schema.decisions.collections import DECISIONS
from hogsend.schema.emails.collections import EMAILS
from hogsend.schema.events.collections import EVENTS
from hogsend.schema.journeys.collections import STATES
from hogsend.tables.decisions import decisions
from hogsend.tables.emails import email_sends
from hogsend.tables.journeys import journey_states


@wire_type("An event: something that a contact did, as it was reported.")
class Event(Node, collection=EVENTS):
    contact_id: strawberry.Private[UUID | None]
    name: str = attribute("Event name, such as `project.created`.")
    properties: JSON = attribute("Properties that were reported with it.")
    occurred_at: datetime = attribute("When it happened.")
    received_at: datetime = attribute("When Hogsend ingested it.")
    source: str = attribute("Where it came from: `api`, `posthog`, `journey`, `enroll` …")

    uuid = bare_uuid()

    user_id = user_id_of_contact()
    contact = to_one("contact", "contact_id", "The contact that it is about; null where that was deleted.")
    decisions = rows(
        DECISIONS,
        decisions.c.event_id,
        ascending="recorded",
        description="Decisions that it led to, oldest first: one for each journey that saw it, and what followed.",
    )
    states = rows(STATES, journey_states.c.trigger_event_id, description="Runs that it began, newest first.")
    emails = rows(EMAILS, email_sends.c.event_id, description="Emails that it caused, newest first.")


@strawberry.input(description="Filter of events: all given fields must match.")
class EventFilter(Filter):
    user_id: str | None = optional("Only events of the contact with this externalId or UUID.")
    name: str | None = optional("Only events with this name.")
    from_: datetime | None = optional("Only events that happened at or after this instant.", name="from")
    to: datetime | None = optional("Only events that happened at or before this instant.")


@strawberry.type
class EventQuery:
    event = by_id(Event, "An event by id; null where there is none.")
    events = rows(
        EVENTS,
        scope=Scope.READ,
        filter=EventFilter,
        description="Events, newest first by when they happened.",
    )
