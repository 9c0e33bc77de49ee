"""The ledger in the schema: every decision about a person, and why."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from hogsend.access.caller import Scope
from hogsend.graphql.ids import key_of
from hogsend.graphql.mapping import FieldMap, Filter
from hogsend.graphql.node import Node, bare_uuid
from hogsend.graphql.rows import in_code, rows, to_one
from hogsend.schema.decisions.collections import DECISIONS
from hogsend.schema.decisions.enums import Kind, Reason


@strawberry.type(description="A decision about a person: recorded when it was made, and never changed.")
class Decision(Node, collection=DECISIONS):
    contact_id: strawberry.Private[UUID | None]
    state_id: strawberry.Private[UUID | None]
    event_id: strawberry.Private[UUID | None]
    email_id: strawberry.Private[UUID | None]
    at: datetime = strawberry.field(description="When it was made.")
    kind: Kind = strawberry.field(description="What was decided.")
    reason: Reason = strawberry.field(description="Why it was decided.")
    detail: JSON = strawberry.field(
        description="What it rests on, by kind: the guards, the step, until when …"
    )
    journey_id: str | None = strawberry.field(description="Key of the journey that it is about.")

    uuid = bare_uuid()
    contact = to_one("contact", "contact_id", "The contact that it is about; null where that was deleted.")
    journey = in_code(
        "journey", "journey_id", "The journey that it is about; null where this deployment has it no more."
    )
    state = to_one("state", "state_id", "The run that it is about.")
    event = to_one("event", "event_id", "The event that led to it.")
    email = to_one("email", "email_id", "The email that it is about.")


@strawberry.input(description="Filter of decisions: all given fields must match.")
class DecisionFilter(Filter):
    filters: ClassVar[FieldMap] = {"journey_id": key_of("journey")}

    journey_id: strawberry.ID | None = strawberry.field(
        default=None, description="Only decisions about this journey."
    )
    user_id: str | None = strawberry.field(
        default=None, description="Only decisions about the contact with this externalId or UUID."
    )
    kinds: list[Kind] | None = strawberry.field(default=None, description="Only decisions of these kinds.")
    reasons: list[Reason] | None = strawberry.field(
        default=None, description="Only decisions for these reasons."
    )
    from_: datetime | None = strawberry.field(
        default=None, name="from", description="Only decisions made at or after this instant."
    )
    to: datetime | None = strawberry.field(
        default=None, description="Only decisions made at or before this instant."
    )


@strawberry.type
class DecisionQuery:
    decisions = rows(
        DECISIONS,
        scope=Scope.READ,
        filter=DecisionFilter,
        description="Every decision about anybody, newest first.",
    )
