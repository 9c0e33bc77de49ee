"""The ledger on the wire: every verdict about a person, and why."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from hogsend.access.caller import Scope
from hogsend.graphql import ids
from hogsend.graphql.connections import connection
from hogsend.graphql.context import Info
from hogsend.graphql.fields import described, field
from hogsend.graphql.node import Columns, Node, bare_uuid, link
from hogsend.schema.decisions.collections import DECISIONS
from hogsend.schema.decisions.enums import Kind, Reason
from hogsend.schema.refs import ContactRef, EmailRef, EventRef, JourneyRef, StateRef, journey_named
from hogsend.storage.collections import Selection


@strawberry.type(description="A verdict about a person, written down when it was reached and never changed.")
class Decision(Node):
    prefix: ClassVar[str] = "decision"
    collection = DECISIONS
    columns: ClassVar[Columns] = {"kind": Kind, "reason": Reason}

    contact_id: strawberry.Private[UUID | None]
    state_id: strawberry.Private[UUID | None]
    event_id: strawberry.Private[UUID | None]
    email_id: strawberry.Private[UUID | None]
    at: datetime = strawberry.field(description="When it was reached.")
    kind: Kind = strawberry.field(description="What was decided.")
    reason: Reason = strawberry.field(description="Why.")
    detail: JSON = strawberry.field(description="What it rested on: the guards, the step, until when.")
    journey_id: str | None = strawberry.field(description="The author's id of the journey that it is about.")

    uuid = bare_uuid()

    @field("Whom it is about.")
    async def contact(self, info: Info) -> ContactRef | None:
        return await link(info.context, "contact", self.contact_id)  # type: ignore[no-any-return]

    @field("The journey that it is about; null where this deployment has it no more.")
    def journey(self, info: Info) -> JourneyRef | None:
        return journey_named(info.context, self.journey_id)

    @field("The run that it is about.")
    async def state(self, info: Info) -> StateRef | None:
        return await link(info.context, "state", self.state_id)  # type: ignore[no-any-return]

    @field("The event that it answers.")
    async def event(self, info: Info) -> EventRef | None:
        return await link(info.context, "event", self.event_id)  # type: ignore[no-any-return]

    @field("The email that it is about.")
    async def email(self, info: Info) -> EmailRef | None:
        return await link(info.context, "email", self.email_id)  # type: ignore[no-any-return]


@strawberry.input(description="Which verdicts.")
class DecisionFilter:
    journey_id: strawberry.ID | None = strawberry.field(default=None, description="About this journey.")
    user_id: str | None = strawberry.field(
        default=None, description="About the contact with this externalId or UUID."
    )
    kinds: list[Kind] | None = strawberry.field(default=None, description="Of these kinds.")
    reasons: list[Reason] | None = strawberry.field(default=None, description="For these reasons.")
    from_: datetime | None = strawberry.field(default=None, name="from", description="Reached then or later.")
    to: datetime | None = strawberry.field(default=None, description="Reached then or earlier.")

    def narrow(self, selection: Selection) -> Selection:
        return selection.filtered(
            journey_id=None if self.journey_id is None else ids.name_of(self.journey_id, "journey"),
            user_id=self.user_id,
            kinds=None if self.kinds is None else [kind.value for kind in self.kinds],
            reasons=None if self.reasons is None else [reason.value for reason in self.reasons],
            from_=self.from_,
            to=self.to,
        )


@strawberry.type
class DecisionQuery:
    @connection("decision", scope=Scope.READ, description="Every verdict about anybody, newest first.")
    def decisions(
        self, filter: Annotated[DecisionFilter | None, described("Which verdicts; all unless told.")] = None
    ) -> Selection:
        return (filter or DecisionFilter()).narrow(DECISIONS.all())
