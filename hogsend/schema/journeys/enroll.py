"""Let somebody into a journey."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from hogsend.access.audit import Action, Resource
from hogsend.access.caller import Scope
from hogsend.access.idempotency import Claim, once
from hogsend.graphql import ids
from hogsend.graphql.context import Info
from hogsend.graphql.enums import described_enum
from hogsend.graphql.fields import described
from hogsend.graphql.mutations import UserError, given, mutation
from hogsend.graphql.node import by_key
from hogsend.operations.actions import Person, enroll
from hogsend.schema.decisions.enums import Reason
from hogsend.schema.events.types import Event
from hogsend.schema.journeys.runs import JourneyState


@strawberry.input(description="Whom to let into which journey.")
class JourneyEnrollInput:
    id: strawberry.ID = strawberry.field(description="The journey's id, or the one that its author gave it.")
    user_id: str = strawberry.field(description="The externalId of the person; made where it is new.")
    user_email: str = strawberry.field(description="The email address of the person.")
    properties: JSON | None = strawberry.field(
        default=None, description="An object: the properties of the trigger event."
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="The same key and input enroll once and give the first answer again."
    )


class JourneyEnrollErrorCode(Enum):
    INVALID = "invalid"
    NOT_FOUND = "not_found"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    IN_PROGRESS = "in_progress"


described_enum(
    JourneyEnrollErrorCode,
    "JourneyEnrollErrorCode",
    "What can be wrong with an enrollment.",
    {
        JourneyEnrollErrorCode.INVALID: "A field has a value that it does not take.",
        JourneyEnrollErrorCode.NOT_FOUND: "There is no such journey.",
        JourneyEnrollErrorCode.IDEMPOTENCY_KEY_REUSED: "The key was used before with another input.",
        JourneyEnrollErrorCode.IN_PROGRESS: "The first call with this key is still under way.",
    },
)


@strawberry.type(description="What `journeyEnroll` did.")
class JourneyEnrollPayload:
    enrolled: bool | None = strawberry.field(
        default=None, description="Whether the guards let the person in."
    )
    reason: Reason | None = strawberry.field(default=None, description="Why, or why not.")
    state: JourneyState | None = strawberry.field(default=None, description="The run that began.")
    event: Event | None = strawberry.field(default=None, description="The trigger event that went in.")
    user_errors: list[UserError[JourneyEnrollErrorCode]] = strawberry.field(
        default_factory=list, description="What is wrong with the input; empty where all is well."
    )


@strawberry.type
class JourneyMutation:
    @mutation(
        scope=Scope.JOURNEY_ADMIN,
        payload=JourneyEnrollPayload,
        codes=JourneyEnrollErrorCode,
        audit_action=(Action.ENROLL, Resource.JOURNEY),
        names=lambda given: ids.name_of(given.id, "journey"),
        description="Let a journey's trigger event happen to somebody. Its guards apply as to any other event.",
    )
    async def journey_enroll(
        self, info: Info, input: Annotated[JourneyEnrollInput, described("Whom, and into which journey.")]
    ) -> JourneyEnrollPayload:
        context = info.context
        journey_id = ids.name_of(input.id, "journey")

        async def effect(_claim: Claim | None) -> Mapping[str, Any]:
            properties: Any = input.properties or {}
            person = Person(input.user_id, input.user_email, properties)
            result = await enroll(context.runtime, journey_id, person, idempotency_key=input.idempotency_key)
            verdict = next((one for one in result.enrollments if one.journey_id == journey_id), None)
            return {
                "enrolled": verdict is not None and verdict.enrolled,
                "reason": None if verdict is None else verdict.reason.value,
                "state": str(verdict.state_id) if verdict and verdict.state_id else None,
                "event": str(result.event_id),
            }

        key = input.idempotency_key
        answer = await once(context.runtime, "journeyEnroll", key, given(input), effect)
        return JourneyEnrollPayload(
            enrolled=answer["enrolled"],
            reason=None if answer["reason"] is None else Reason(answer["reason"]),
            state=await by_key(context, JourneyState, UUID(answer["state"]) if answer["state"] else None),
            event=await by_key(context, Event, UUID(answer["event"])),
        )
