"""Let many people into a journey at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import strawberry
from strawberry.scalars import JSON

from hogsend.access.audit import Action, Resource
from hogsend.access.caller import Scope
from hogsend.access.idempotency import Claim, once
from hogsend.graphql import ids
from hogsend.graphql.context import Info
from hogsend.graphql.fields import described
from hogsend.graphql.mutations import UserError, given, mutation
from hogsend.operations.actions import MAX_BATCH, Enrolled, Person, enroll_batch, preview_batch
from hogsend.schema.journeys.codes import JourneyEnrollBatchErrorCode


@strawberry.input(description="One person of a batch.")
class JourneyEnrollUser:
    user_id: str = strawberry.field(description="The externalId of the person; made where it is new.")
    user_email: str = strawberry.field(description="The email address of the person.")
    properties: JSON | None = strawberry.field(
        default=None, description="An object: the properties of the trigger event."
    )


@strawberry.input(description="Whom to let into which journey.")
class JourneyEnrollBatchInput:
    id: strawberry.ID = strawberry.field(description="The journey's id, or the one that its author gave it.")
    users: list[JourneyEnrollUser] = strawberry.field(description=f"1 to {MAX_BATCH} people.")
    dry_run: bool = strawberry.field(default=False, description="Only say what each verdict would be.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="The same key and input enroll once and give the first answer again."
    )


@strawberry.type(description="The verdict on one person of a batch.")
class JourneyEnrollResult:
    user_id: str = strawberry.field(description="The externalId, as given.")
    enrolled: bool = strawberry.field(description="Whether the guards let the person in.")
    reason: str | None = strawberry.field(
        description="Why not: a `DecisionReason` in lower case, or what was wrong with the input."
    )


@strawberry.type(description="What `journeyEnrollBatch` did, or would do.")
class JourneyEnrollBatchPayload:
    enrolled: int | None = strawberry.field(default=None, description="How many were let in.")
    skipped: int | None = strawberry.field(default=None, description="How many were not.")
    results: list[JourneyEnrollResult] | None = strawberry.field(
        default=None, description="One verdict a person, in the order of the input."
    )
    user_errors: list[UserError[JourneyEnrollBatchErrorCode]] = strawberry.field(
        default_factory=list, description="What is wrong with the input; empty where all is well."
    )


@strawberry.type
class JourneyBatch:
    @mutation(
        scope=Scope.JOURNEY_ADMIN,
        payload=JourneyEnrollBatchPayload,
        codes=JourneyEnrollBatchErrorCode,
        audit_action=(Action.ENROLL, Resource.JOURNEY),
        names=lambda given: ids.name_of(given.id, "journey"),
        description="Let a journey's trigger event happen to many people, each with a verdict of their own.",
        cost=100,
    )
    async def journey_enroll_batch(
        self,
        info: Info,
        input: Annotated[JourneyEnrollBatchInput, described("Whom, and into which journey.")],
    ) -> JourneyEnrollBatchPayload:
        runtime = info.context.runtime
        journey_id = ids.name_of(input.id, "journey")
        people = [Person(one.user_id, one.user_email, _properties(one)) for one in input.users]

        async def effect(_claim: Claim | None) -> Mapping[str, Any]:
            if input.dry_run:
                results = await preview_batch(runtime, journey_id, people)
            else:
                results = await enroll_batch(
                    runtime, journey_id, people, idempotency_key=input.idempotency_key
                )
            return {"results": [_kept(one) for one in results]}

        key = input.idempotency_key
        answer = await once(runtime, "journeyEnrollBatch", key, _given(input), effect)
        results = [JourneyEnrollResult(**one) for one in answer["results"]]
        enrolled = sum(one.enrolled for one in results)
        return JourneyEnrollBatchPayload(enrolled=enrolled, skipped=len(results) - enrolled, results=results)


def _properties(user: JourneyEnrollUser) -> Any:
    return user.properties or {}


def _given(input: JourneyEnrollBatchInput) -> dict[str, Any]:
    return given(input) | {"users": [given(user) for user in input.users]}


def _kept(result: Enrolled) -> dict[str, Any]:
    return {"user_id": result.external_id, "enrolled": result.enrolled, "reason": result.reason}
