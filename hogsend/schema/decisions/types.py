"""The ledger in the schema: every decision about a person, and why."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from hogsend.access.caller import Scope
from hogsend.graphql.fields import attribute, optional, wire_type
from hogsend.graphql.ids import name_from
from hogsend.graphql.mapping import Filter
from hogsend.graphql.node import Node, bare_uuid
from hogsend.graphql.rows import in_code, rows, to_one
from hogsend.schema.contacts.collections import TIMELINE
from hogsend.schema.decisions.collections import DECISIONS
from hogsend.schema.decisions.enums import DecisionKind, Reason
from hogsend.tables.realtime import activity


@wire_type("A decision about a person: recorded when it was made, and never changed.")
class Decision(Node, collection=DECISIONS):
    contact_id: strawberry.Private[UUID | None]
    state_id: strawberry.Private[UUID | None]
    event_id: strawberry.Private[UUID | None]
    email_id: strawberry.Private[UUID | None]
    at: datetime = attribute("When it was made.")
    kind: DecisionKind = attribute("What was decided.")
    reason: Reason = attribute("Why it was decided.")
    detail: JSON = attribute("What it rests on, by kind: the guards, the step, until when …")
    journey_id: str | None = attribute("Key of the journey that it is about.")

    uuid = bare_uuid()
    contact = to_one("contact", "contact_id", "The contact that it is about; null where that was deleted.")
    journey = in_code(
        "journey", "journey_id", "The journey that it is about; null where this deployment has it no more."
    )
    state = to_one("state", "state_id", "The run that it is about.")
    event = to_one("event", "event_id", "The event that led to it.")
    email = to_one("email", "email_id", "The email that it is about.")
    brought = rows(
        TIMELINE,
        activity.c.merged_by,
        ascending="recorded",
        description="Of a merge: the entries that it brought to the contact's timeline, oldest first.",
    )


@strawberry.input(description="Filter of decisions: all given fields must match.")
class DecisionFilter(Filter, filters={"journey_id": name_from("journey")}):
    journey_id: strawberry.ID | None = optional("Only decisions about this journey.")
    user_id: str | None = optional("Only decisions about the contact with this externalId or UUID.")
    kinds: list[DecisionKind] | None = optional("Only decisions of these kinds.")
    reasons: list[Reason] | None = optional("Only decisions for these reasons.")
    from_: datetime | None = optional("Only decisions made at or after this instant.", name="from")
    to: datetime | None = optional("Only decisions made at or before this instant.")


@strawberry.type
class DecisionQuery:
    decisions = rows(
        DECISIONS,
        scope=Scope.READ,
        filter=DecisionFilter,
        description="Every decision about anybody, newest first.",
    )
