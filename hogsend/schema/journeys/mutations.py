"""Mutations of journeys: enable, disable."""

from __future__ import annotations

import strawberry

from hogsend.access.audit import Action, Resource, audit
from hogsend.access.caller import Scope
from hogsend.graphql import ids
from hogsend.graphql.context import Context, Info
from hogsend.graphql.fields import attribute
from hogsend.graphql.mutations import mutation, named_by_id, part, payload
from hogsend.operations.switch import find_journey, set_enabled
from hogsend.schema.journeys.types import Journey


@strawberry.input
class OneJourney:
    """What both mutations take."""

    id: strawberry.ID = attribute("The journey's id, or the one that its author gave it.")


@strawberry.type
class ChangedJourney:
    """What both mutations answer."""

    journey: Journey | None = part("The journey as it is now.")


@strawberry.input(description="Which journey to enable.")
class JourneyEnableInput(OneJourney):
    pass


@strawberry.input(description="Which journey to disable.")
class JourneyDisableInput(OneJourney):
    pass


@payload("What `journeyEnable` did.", errors="NOT_FOUND")
class JourneyEnablePayload(ChangedJourney):
    pass


@payload("What `journeyDisable` did.", errors="NOT_FOUND")
class JourneyDisablePayload(ChangedJourney):
    pass


@strawberry.type
class SwitchMutation:
    @mutation(
        JourneyEnablePayload,
        scope=Scope.JOURNEY_ADMIN,
        audits=(Action.UPDATE, Resource.JOURNEY, named_by_id(Journey.prefix)),
        description="Let people in again, whatever the code says. Runs that are under way are not touched.",
    )
    async def journey_enable(self, info: Info, input: JourneyEnableInput) -> JourneyEnablePayload:
        return JourneyEnablePayload(journey=await _switch(info.context, input.id, enabled=True))

    @mutation(
        JourneyDisablePayload,
        scope=Scope.JOURNEY_ADMIN,
        audits=(Action.UPDATE, Resource.JOURNEY, named_by_id(Journey.prefix)),
        description="Let nobody in, whatever the code says. Runs that are under way go on.",
    )
    async def journey_disable(self, info: Info, input: JourneyDisableInput) -> JourneyDisablePayload:
        return JourneyDisablePayload(journey=await _switch(info.context, input.id, enabled=False))


async def _switch(context: Context, id: str, *, enabled: bool) -> Journey | None:
    journey_id = ids.name_of(id, "journey")
    runtime = context.runtime
    before = await Journey(key=journey_id, definition=find_journey(runtime, journey_id)).is_enabled(context)
    context.forget()
    async with runtime.database.transaction() as conn:
        await set_enabled(conn, runtime, journey_id, enabled=enabled)
        await audit(conn, resource_id=journey_id, before={"enabled": before}, after={"enabled": enabled})
    return Journey.named(context, journey_id)
