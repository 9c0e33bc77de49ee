"""Mutations that let people into a journey: one, or many at once."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from hogsend.access.audit import Action, Resource, audit
from hogsend.access.caller import Scope
from hogsend.access.idempotency import Claim
from hogsend.graphql import ids
from hogsend.graphql.context import Context, Info
from hogsend.graphql.fields import attribute, optional
from hogsend.graphql.mutations import Answer, idempotency_key, mutation, named_by_id, part, payload
from hogsend.graphql.node import by_key
from hogsend.operations.enroll import MAX_BATCH, Enrolled, Enrollee, enroll_batch, enroll_in, preview_batch
from hogsend.schema.decisions.enums import Reason
from hogsend.schema.events.types import Event
from hogsend.schema.journeys.runs import JourneyState


@strawberry.input(description="Whom to let into which journey.")
class JourneyEnrollInput:
    id: strawberry.ID = attribute("The journey's id, or the one that its author gave it.")
    user_id: str = attribute("The externalId of the person; made where it is new.")
    user_email: str = attribute("The email address of the person.")
    properties: JSON | None = optional("An object: the properties of the trigger event.")
    idempotency_key: str | None = idempotency_key("enroll")


@payload("What `journeyEnroll` did.", errors="INVALID NOT_FOUND", keyed=True)
class JourneyEnrollPayload:
    enrolled: bool | None = part("Whether the guards let the person in.")
    reason: Reason | None = part("Why, or why not.")
    state: JourneyState | None = part("The run that began.")
    event: Event | None = part("The trigger event that went in.")

    @classmethod
    async def of(cls, context: Context, answer: Answer) -> JourneyEnrollPayload:
        return cls(
            enrolled=answer["enrolled"],
            reason=None if answer["reason"] is None else Reason(answer["reason"]),
            state=await by_key(context, JourneyState, UUID(answer["state"]) if answer["state"] else None),
            event=await by_key(context, Event, UUID(answer["event"])),
        )


@strawberry.input(description="One person of a batch.")
class JourneyEnrollUser:
    user_id: str = attribute("The externalId of the person; made where it is new.")
    user_email: str = attribute("The email address of the person.")
    properties: JSON | None = optional("An object: the properties of the trigger event.")


@strawberry.input(description="Whom to let into which journey.")
class JourneyEnrollBatchInput:
    id: strawberry.ID = attribute("The journey's id, or the one that its author gave it.")
    users: list[JourneyEnrollUser] = attribute(f"1 to {MAX_BATCH} people.")
    dry_run: bool = strawberry.field(default=False, description="Only say what each verdict would be.")
    idempotency_key: str | None = idempotency_key("enroll")


@strawberry.type(description="The verdict on one person of a batch.")
class JourneyEnrollResult:
    user_id: str = attribute("The externalId, as given.")
    enrolled: bool = attribute("Whether the guards let the person in.")
    reason: str | None = attribute(
        "Why not: a `DecisionReason` in lower case, or what was wrong with the input."
    )


@payload("What `journeyEnrollBatch` did, or would do.", errors="INVALID NOT_FOUND", keyed=True)
class JourneyEnrollBatchPayload:
    enrolled: int | None = part("How many were let in.")
    skipped: int | None = part("How many were not.")
    results: list[JourneyEnrollResult] | None = part("One verdict a person, in the order of the input.")

    @classmethod
    async def of(cls, _context: Context, answer: Answer) -> JourneyEnrollBatchPayload:
        results = [JourneyEnrollResult(**one) for one in answer["results"]]
        enrolled = sum(one.enrolled for one in results)
        return cls(enrolled=enrolled, skipped=len(results) - enrolled, results=results)


def _people(input: JourneyEnrollBatchInput) -> list[Enrollee]:
    return [_person(one) for one in input.users]


def _person(user: JourneyEnrollInput | JourneyEnrollUser) -> Enrollee:
    properties: Any = user.properties or {}
    return Enrollee(user.user_id, user.user_email, properties)


def _kept(results: list[Enrolled]) -> Answer:
    return {
        "results": [
            {
                "user_id": one.external_id,
                "enrolled": one.enrolled,
                "reason": None if one.enrolled else one.reason,
            }
            for one in results
        ]
    }


async def _would_enroll(info: Info, input: JourneyEnrollBatchInput) -> Answer:
    journey_id = ids.name_of(input.id, "journey")
    return _kept(await preview_batch(info.context.runtime, journey_id, _people(input)))


@strawberry.type
class EnrollMutation:
    @mutation(
        JourneyEnrollPayload,
        scope=Scope.JOURNEY_ADMIN,
        audits=(Action.ENROLL, Resource.JOURNEY, named_by_id("journey")),
        description="Let a journey's trigger event happen to somebody. Its guards apply as to any other event.",
    )
    async def journey_enroll(self, info: Info, input: JourneyEnrollInput, claim: Claim) -> Answer:
        journey_id = ids.name_of(input.id, "journey")
        runtime, key = info.context.runtime, input.idempotency_key
        async with runtime.database.transaction() as conn:
            done = await enroll_in(conn, runtime, journey_id, _person(input), idempotency_key=key)
            answer = {
                "enrolled": done.enrolled,
                "reason": done.reason,
                "state": str(done.state_id) if done.state_id else None,
                "event": str(done.event_id),
            }
            await audit(conn, resource_id=journey_id, detail=answer)
            await claim.answer(conn, answer)
        runtime.fault_point("after_ingest_commit")
        return answer

    @mutation(
        JourneyEnrollBatchPayload,
        scope=Scope.JOURNEY_ADMIN,
        audits=(Action.ENROLL, Resource.JOURNEY, named_by_id("journey")),
        description="Let a journey's trigger event happen to many people, each with a verdict of their own.",
        cost=100,
        preview=_would_enroll,
        several=True,
    )
    async def journey_enroll_batch(self, info: Info, input: JourneyEnrollBatchInput, claim: Claim) -> Answer:
        journey_id = ids.name_of(input.id, "journey")
        runtime, key = info.context.runtime, input.idempotency_key
        return _kept(await enroll_batch(runtime, journey_id, _people(input), idempotency_key=key))
