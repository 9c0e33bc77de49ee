"""Journeys in the schema."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Annotated, Any

import strawberry
from strawberry.scalars import JSON

from hogsend.access.caller import Scope
from hogsend.enrollment.explain import explain_enrollment
from hogsend.graphql import ids
from hogsend.graphql.connections import InMemoryList, connection
from hogsend.graphql.context import Context, Info
from hogsend.graphql.errors import Code, problem
from hogsend.graphql.fields import attribute, described, field, wire_type
from hogsend.graphql.links import row_by_key, rows_for
from hogsend.graphql.mapping import from_object
from hogsend.graphql.node import Node
from hogsend.graphql.rows import Argument, by_id, rows
from hogsend.journeys.conditions.builders import Trigger
from hogsend.journeys.definition import Journey as Definition
from hogsend.runs.status import WIRE_STATUS
from hogsend.schema.contacts.types import ContactBy, find_contact
from hogsend.schema.journeys.collections import OVERRIDES, STATES, counts
from hogsend.schema.journeys.enums import STATUS_ARGUMENT, EntryLimit
from hogsend.schema.journeys.explain import EnrollmentExplanation
from hogsend.schema.journeys.funnel import FunnelStep, funnel
from hogsend.schema.journeys.versions import JourneyVersion, versions
from hogsend.schema.metrics.journeys import JourneyMetrics, journey_metrics
from hogsend.tables.journeys import journey_states


@wire_type("An event that begins or ends runs, and the condition that it must meet.")
class JourneyTrigger:
    event: str = attribute("Name of the event.")
    where: JSON | None = attribute("Condition on the event as JSON; null where any such event counts.")
    description: str = attribute("Event and condition in words.")

    @classmethod
    def of(cls, trigger: Trigger) -> JourneyTrigger:
        where = None if trigger.where is None else JSON(trigger.where.to_json())
        return cls(event=trigger.event, where=where, description=trigger.describe())


@wire_type("Number of runs of a journey by status.")
class JourneyCounts:
    active: int = strawberry.field(default=0, description="Runs that are running, or about to.")
    waiting: int = strawberry.field(default=0, description="Runs that wait.")
    completed: int = strawberry.field(default=0, description="Runs that completed.")
    failed: int = strawberry.field(default=0, description="Runs that failed or are blocked.")
    exited: int = strawberry.field(default=0, description="Runs that were ended early.")


@wire_type("A journey of this deployment: what happens to contacts after an event.")
class Journey(Node, prefix="journey"):
    definition: strawberry.Private[Definition]

    @classmethod
    def named(cls, context: Context, name: str | None) -> Journey | None:
        """The journey with this key."""
        found = context.runtime.registry.get(name) if name is not None else None
        return None if found is None else cls(key=found.id, definition=found)

    @field("Key that its author gave it.", name="key")
    def author_key(self) -> str:
        return self.definition.id

    @field("Display name.")
    def name(self) -> str:
        return self.definition.name

    @field("What it is for.")
    def description(self) -> str | None:
        return self.definition.description

    @field("Whether contacts may enter it now: as an operator set it, or else as in the code.")
    async def enabled(self, info: Info) -> bool:
        return await self.is_enabled(info.context)

    @field("Whether the code enables it.")
    def enabled_in_code(self) -> bool:
        return self.definition.enabled

    @field("When an operator last enabled or disabled it; null where none did.")
    async def updated_at(self, info: Info) -> datetime | None:
        override = await self._override(info.context)
        return None if override is None else override["updated_at"]

    @field("The event that begins a run.")
    def trigger(self) -> JourneyTrigger:
        return JourneyTrigger.of(self.definition.trigger)

    @field("Events that end a run early, at whatever step it is.")
    def exit_on(self) -> list[JourneyTrigger]:
        return [JourneyTrigger.of(trigger) for trigger in self.definition.exit_on]

    @field("How often a contact may enter.")
    def entry_limit(self) -> EntryLimit:
        return EntryLimit(self.definition.entry.limit)

    @field("Time within which a contact may enter once; null for the other limits.")
    def entry_period(self) -> timedelta | None:
        return self.definition.entry.period

    @field(
        "Time after an email of this journey within which its recipient may not enter again; null for none."
    )
    def suppress(self) -> timedelta | None:
        return self.definition.suppress

    @field("Preference category of its emails.")
    def category(self) -> str | None:
        return self.definition.category

    @field("Version of its code: a hash that changes when what the code does may have changed.")
    def version(self) -> str:
        return self.definition.version

    @field("Number of its runs by status.")
    async def counts(self, info: Info) -> JourneyCounts:
        return await _counts(info.context, self.definition.id)

    states = rows(
        STATES,
        journey_states.c.journey_id,
        description="Its runs, newest first.",
        arguments={
            "status": STATUS_ARGUMENT,
            "user_id": Argument(str | None, "Only runs of the contact with this externalId or UUID."),
        },
    )

    @field("Metrics of all its runs.")
    async def metrics(self, info: Info) -> JourneyMetrics:
        return await journey_metrics(info.context, self.definition.id)

    @field("Funnel: its steps in the order in which runs first reached them.")
    async def funnel(self, info: Info) -> list[FunnelStep]:
        return await funnel(info.context, self.definition.id)

    @field("Versions of its code that were deployed or have runs, newest first.")
    async def versions(self, info: Info) -> list[JourneyVersion]:
        return await versions(info.context, self.definition.id)

    @field(
        "Why a contact was, or would be, enrolled or not: every guard, evaluated by the code that ingestion runs."
    )
    async def explain_enrollment(
        self,
        info: Info,
        contact: Annotated[ContactBy, described("The contact.")],
        event: Annotated[
            strawberry.ID | None,
            described("Event to explain; by default the newest decision, or what it would be now."),
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
        return from_object(EnrollmentExplanation, explanation)

    async def is_enabled(self, context: Context) -> bool:
        override = await self._override(context)
        return self.definition.enabled if override is None else bool(override["enabled"])

    async def _override(self, context: Context) -> Any:
        return await row_by_key(context, OVERRIDES, self.definition.id)


async def _counts(context: Context, journey_id: str) -> JourneyCounts:
    """One statement for all journeys that ask."""
    found = JourneyCounts()
    for row in await rows_for(context, "journey counts", counts, "journey_id", journey_id):
        status = WIRE_STATUS[row["status"]]
        setattr(found, status, getattr(found, status) + row["runs"])
    return found


@strawberry.type
class JourneyQuery:
    journey = by_id(
        Journey,
        "A journey by id; null where this deployment has none with it.",
        argument="Global id, or the key that its author gave it.",
    )

    @connection("journey", scope=Scope.READ, description="Journeys of this deployment, by key.")
    async def journeys(
        self,
        info: Info,
        enabled: Annotated[
            bool | None, described("Only journeys enabled now (true), or disabled (false).")
        ] = None,
    ) -> InMemoryList:
        known = sorted(info.context.runtime.registry.all(), key=lambda one: one.id)
        journeys = [Journey(key=one.id, definition=one) for one in known]
        if enabled is not None:
            states = await asyncio.gather(*(journey.is_enabled(info.context) for journey in journeys))
            pairs = zip(journeys, states, strict=True)
            journeys = [journey for journey, is_enabled in pairs if is_enabled is enabled]
        return InMemoryList("journeys", journeys, lambda journey: str(journey.key))
