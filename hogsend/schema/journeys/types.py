"""Journeys on the wire."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from enum import Enum
from typing import Annotated, Any, ClassVar

import strawberry
from strawberry.scalars import JSON
from strawberry.types.lazy_type import LazyType

from hogsend.access.caller import Scope
from hogsend.enrollment.explain import explain_enrollment
from hogsend.graphql import ids
from hogsend.graphql.connections import Listed, connection
from hogsend.graphql.context import Context, Info
from hogsend.graphql.enums import described_enum
from hogsend.graphql.errors import Code, problem
from hogsend.graphql.fields import described, field, query
from hogsend.graphql.links import row_by_key
from hogsend.graphql.node import Node
from hogsend.journeys.conditions.builders import Trigger
from hogsend.journeys.definition import Journey as Definition
from hogsend.schema.contacts.types import find_contact
from hogsend.schema.journeys.collections import OVERRIDES, STANDS_FOR, STATES, counts
from hogsend.schema.journeys.explain import EnrollmentExplanation
from hogsend.schema.journeys.funnel import FunnelStep, funnel
from hogsend.schema.journeys.runs import JourneyStateStatus
from hogsend.schema.journeys.versions import JourneyVersion, versions
from hogsend.schema.metrics import journey_metrics
from hogsend.schema.refs import JourneyMetricsRef
from hogsend.storage.collections import Selection
from hogsend.tables.journeys import journey_states


class EntryLimit(Enum):
    ONCE = "once"
    ONCE_PER_PERIOD = "once_per_period"
    UNLIMITED = "unlimited"


described_enum(
    EntryLimit,
    "EntryLimit",
    "How often one person may enter a journey.",
    {
        EntryLimit.ONCE: "Once ever.",
        EntryLimit.ONCE_PER_PERIOD: "Once within `entryPeriod`.",
        EntryLimit.UNLIMITED: "As often as the trigger comes, one run at a time.",
    },
)


@strawberry.type(description="An event that begins or ends runs, and what must hold when it comes.")
class JourneyTrigger:
    event: str = strawberry.field(description="The event's name.")
    where: JSON | None = strawberry.field(
        description="The condition as data; null where any such event counts."
    )
    description: str = strawberry.field(description="The same in words.")

    @classmethod
    def of(cls, trigger: Trigger) -> JourneyTrigger:
        where = None if trigger.where is None else JSON(trigger.where.to_json())
        return cls(event=trigger.event, where=where, description=trigger.describe())


@strawberry.type(description="How many runs a journey has in each status.")
class JourneyCounts:
    active: int = strawberry.field(default=0, description="That run, or are about to.")
    waiting: int = strawberry.field(default=0, description="That wait.")
    completed: int = strawberry.field(default=0, description="That came to their end.")
    failed: int = strawberry.field(default=0, description="That broke or are stuck.")
    exited: int = strawberry.field(default=0, description="That were ended early.")


@strawberry.type(description="A journey: what happens to people after an event.")
class Journey(Node):
    prefix: ClassVar[str] = "journey"

    definition: strawberry.Private[Definition]

    @classmethod
    def named(cls, context: Context, journey_id: str | None) -> Journey | None:
        """The journey that this deployment knows by the author's id."""
        found = context.runtime.registry.get(journey_id) if journey_id is not None else None
        return None if found is None else cls(key=found.id, definition=found)

    @classmethod
    async def fetch(cls, context: Context, id: str) -> Node | None:
        return cls.named(context, ids.name_of(id, cls.prefix))

    @field("The id that its author gave it.", name="key")
    def author_key(self) -> str:
        return self.definition.id

    @field("What people call it.")
    def name(self) -> str:
        return self.definition.name

    @field("What it is for.")
    def description(self) -> str | None:
        return self.definition.description

    @field("Whether people may enter it now: the operator's word, or else the code's.")
    async def enabled(self, info: Info) -> bool:
        return await self.is_enabled(info.context)

    @field("Whether the code enables it.")
    def enabled_in_code(self) -> bool:
        return self.definition.enabled

    @field("When an operator last enabled or disabled it; null where none did.")
    async def updated_at(self, info: Info) -> datetime | None:
        override = await self._override(info.context)
        return None if override is None else override["updated_at"]

    @field("The event that begins it.")
    def trigger(self) -> JourneyTrigger:
        return JourneyTrigger.of(self.definition.trigger)

    @field("The events that end a run wherever it is.")
    def exit_on(self) -> list[JourneyTrigger]:
        return [JourneyTrigger.of(trigger) for trigger in self.definition.exit_on]

    @field("How often one person may enter.")
    def entry_limit(self) -> EntryLimit:
        return EntryLimit(self.definition.entry.limit)

    @field("The time within which a person may enter once; null for the other limits.")
    def entry_period(self) -> timedelta | None:
        return self.definition.entry.period

    @field("Whom it wrote to within this time may not enter; null where that does not matter.")
    def suppress(self) -> timedelta | None:
        return self.definition.suppress

    @field("The preference category of its emails.")
    def category(self) -> str | None:
        return self.definition.category

    @field("Of its code; it changes when what the code does may have changed.")
    def version(self) -> str:
        return self.definition.version

    @field("How many runs it has in each status.")
    async def counts(self, info: Info) -> JourneyCounts:
        return await _counts(info.context, self.definition.id)

    @connection("state", description="Its runs, newest first.")
    def states(
        self,
        status: Annotated[
            list[JourneyStateStatus] | None, described("Only runs in one of these statuses.")
        ] = None,
        user_id: Annotated[
            str | None, described("Only runs of the contact with this externalId or UUID.")
        ] = None,
    ) -> Selection:
        statuses = None if status is None else [one.value for one in status]
        mine = STATES.under(journey_states.c.journey_id, self.definition.id)
        return mine.filtered(statuses=statuses, user_id=user_id)

    @field("All its runs, in numbers.")
    async def metrics(self, info: Info) -> JourneyMetricsRef:
        return await journey_metrics(info.context, self.definition.id)

    @field("How far people come: its steps, in the order in which runs first came to them.")
    async def funnel(self, info: Info) -> list[FunnelStep]:
        return await funnel(info.context, self.definition.id)

    @field("The versions of its code that were seen or have runs, the newest first.")
    async def versions(self, info: Info) -> list[JourneyVersion]:
        return await versions(info.context, self.definition.id)

    @field("Why a contact was, or would be, let in or not: every guard in order, by ingestion's own code.")
    async def explain_enrollment(
        self,
        info: Info,
        contact: Annotated[
            Any,
            strawberry.argument(
                description="Whose enrollment.",
                graphql_type=LazyType("ContactBy", "hogsend.schema.contacts.types"),
            ),
        ],
        event: Annotated[
            strawberry.ID | None,
            described("For this event; the newest verdict, or what it would be now, where left out."),
        ] = None,
    ) -> EnrollmentExplanation:
        found = await find_contact(info.context, contact)
        if found is None:
            raise problem("Contact not found", Code.NOT_FOUND)
        event_id = None if event is None else ids.uuid_of(event, "event")
        async with info.context.connection() as conn:
            explanation = await explain_enrollment(
                conn, info.context.runtime, self.definition, found["id"], event_id
            )
        return EnrollmentExplanation.showing(explanation)

    async def is_enabled(self, context: Context) -> bool:
        override = await self._override(context)
        return self.definition.enabled if override is None else bool(override["enabled"])

    async def _override(self, context: Context) -> Any:
        return await row_by_key(context, OVERRIDES, self.definition.id)


async def _counts(context: Context, journey_id: str) -> JourneyCounts:
    async def load(journey_ids: list[str]) -> list[JourneyCounts]:
        found = {one: JourneyCounts() for one in journey_ids}
        for row in await context.rows(counts(journey_ids)):
            mine, status = found[row["journey_id"]], STANDS_FOR[row["status"]]
            setattr(mine, status, getattr(mine, status) + row["runs"])
        return [found[one] for one in journey_ids]

    return await context.loader("journey counts", load).load(journey_id)


@strawberry.type
class JourneyQuery:
    @query(description="One journey; null where this deployment has none with that id.")
    async def journey(
        self,
        info: Info,
        id: Annotated[strawberry.ID, described("Its id, or the one that its author gave it.")],
    ) -> Journey | None:
        return await Journey.fetch(info.context, id)  # type: ignore[return-value]

    @connection("journey", scope=Scope.READ, description="The journeys of this deployment, by id.")
    async def journeys(
        self,
        info: Info,
        enabled: Annotated[bool | None, described("Only those that are enabled now, or are not.")] = None,
    ) -> Listed:
        known = sorted(info.context.runtime.registry.all(), key=lambda one: one.id)
        journeys = [Journey(key=one.id, definition=one) for one in known]
        if enabled is not None:
            states = await asyncio.gather(*(journey.is_enabled(info.context) for journey in journeys))
            pairs = zip(journeys, states, strict=True)
            journeys = [journey for journey, is_enabled in pairs if is_enabled is enabled]
        return Listed("journeys", journeys, lambda journey: str(journey.key))
