"""Enable and disable journeys; cancel, resume and skip runs."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import strawberry

from hogsend.access.audit import Action, Resource, audit
from hogsend.access.caller import Scope
from hogsend.access.idempotency import Claim, once
from hogsend.contacts.identity import find
from hogsend.errors import InvalidInput, NotFound
from hogsend.graphql import ids
from hogsend.graphql.context import Context, Info
from hogsend.graphql.enums import described_enum
from hogsend.graphql.fields import described
from hogsend.graphql.mutations import UserError, given, mutation
from hogsend.graphql.node import by_key
from hogsend.journeys.actions import cancel_in, find_journey, live_states, resume_in, set_enabled, skip_in
from hogsend.journeys.schema.journey import Journey
from hogsend.journeys.schema.state import JourneyState
from hogsend.storage.database import Record

MOST_AT_ONCE = 10_000
BATCH = 100
SAMPLE = 10


class JourneyErrorCode(Enum):
    NOT_FOUND = "not_found"


described_enum(
    JourneyErrorCode,
    "JourneySwitchErrorCode",
    "What can be wrong with enabling or disabling a journey.",
    {JourneyErrorCode.NOT_FOUND: "There is no such journey."},
)


class StateErrorCode(Enum):
    INVALID = "invalid"
    NOT_FOUND = "not_found"
    ALREADY_ENDED = "already_ended"
    NOT_STUCK = "not_stuck"
    ALREADY_IN_JOURNEY = "already_in_journey"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    IN_PROGRESS = "in_progress"


described_enum(
    StateErrorCode,
    "JourneyStateErrorCode",
    "What can be wrong with steering a run.",
    {
        StateErrorCode.INVALID: "A field has a value that it does not take.",
        StateErrorCode.NOT_FOUND: "There is no such run, or it is another journey's.",
        StateErrorCode.ALREADY_ENDED: "The run has ended already.",
        StateErrorCode.NOT_STUCK: "The run is neither blocked nor failed.",
        StateErrorCode.ALREADY_IN_JOURNEY: "The person is in another run of this journey meanwhile.",
        StateErrorCode.IDEMPOTENCY_KEY_REUSED: "The key was used before with another input.",
        StateErrorCode.IN_PROGRESS: "The first call with this key is still under way.",
    },
)


@strawberry.input(description="Which journey.")
class JourneySwitchInput:
    id: strawberry.ID = strawberry.field(description="The journey's id, or the one that its author gave it.")


@strawberry.type(description="What `journeyEnable` or `journeyDisable` did.")
class JourneySwitchPayload:
    journey: Journey | None = strawberry.field(default=None, description="The journey as it is now.")
    user_errors: list[UserError[JourneyErrorCode]] = strawberry.field(
        default_factory=list, description="What is wrong with the input; empty where all is well."
    )


@strawberry.input(description="Which run.")
class JourneyStateInput:
    id: strawberry.ID = strawberry.field(description="The run's id, or its bare UUID.")
    journey_id: strawberry.ID | None = strawberry.field(
        default=None, description="Refuse a run of any other journey."
    )


@strawberry.type(description="What `journeyStateCancel` did.")
class JourneyStateCancelPayload:
    state: JourneyState | None = strawberry.field(default=None, description="The run as it is now.")
    cancelled_in_engine: bool | None = strawberry.field(
        default=None, description="Whether the engine really stopped something; its fence holds either way."
    )
    user_errors: list[UserError[StateErrorCode]] = strawberry.field(
        default_factory=list, description="What is wrong with the input; empty where all is well."
    )


@strawberry.type(description="What `journeyStateResume` or `journeyStateSkip` did.")
class JourneyStateMovePayload:
    state: JourneyState | None = strawberry.field(default=None, description="The run as it is now.")
    user_errors: list[UserError[StateErrorCode]] = strawberry.field(
        default_factory=list, description="What is wrong with the input; empty where all is well."
    )


@strawberry.input(description="Which live runs; at least one of journeyId, userId and ids.")
class JourneyStatesCancelInput:
    journey_id: strawberry.ID | None = strawberry.field(default=None, description="Runs of this journey.")
    user_id: str | None = strawberry.field(
        default=None, description="Runs of the contact with this externalId or UUID."
    )
    ids: list[strawberry.ID] | None = strawberry.field(default=None, description="These runs.")
    dry_run: bool = strawberry.field(default=False, description="Only say what would be cancelled.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="The same key and input give the first answer again."
    )


@strawberry.type(description="What `journeyStatesCancel` did, or would do.")
class JourneyStatesCancelPayload:
    matched: int | None = strawberry.field(
        default=None, description=f"How many live runs fit, at most {MOST_AT_ONCE:,} at once."
    )
    cancelled: int | None = strawberry.field(default=None, description="How many were ended; 0 in a dry run.")
    sample: list[JourneyState] | None = strawberry.field(
        default=None, description=f"The first {SAMPLE} of them."
    )
    user_errors: list[UserError[StateErrorCode]] = strawberry.field(
        default_factory=list, description="What is wrong with the input; empty where all is well."
    )


@strawberry.type
class JourneySteering:
    @mutation(
        scope=Scope.JOURNEY_ADMIN,
        payload=JourneySwitchPayload,
        codes=JourneyErrorCode,
        deed=(Action.UPDATE, Resource.JOURNEY),
        names=lambda given: ids.name_of(given.id, "journey"),
        description="Let people in again, whatever the code says. Runs that are under way are not touched.",
    )
    async def journey_enable(
        self, info: Info, input: Annotated[JourneySwitchInput, described("The journey.")]
    ) -> JourneySwitchPayload:
        return await _switch(info.context, input.id, enabled=True)

    @mutation(
        scope=Scope.JOURNEY_ADMIN,
        payload=JourneySwitchPayload,
        codes=JourneyErrorCode,
        deed=(Action.UPDATE, Resource.JOURNEY),
        names=lambda given: ids.name_of(given.id, "journey"),
        description="Let nobody in, whatever the code says. Runs that are under way go on.",
    )
    async def journey_disable(
        self, info: Info, input: Annotated[JourneySwitchInput, described("The journey.")]
    ) -> JourneySwitchPayload:
        return await _switch(info.context, input.id, enabled=False)

    @mutation(
        scope=Scope.JOURNEY_ADMIN,
        payload=JourneyStateCancelPayload,
        codes=StateErrorCode,
        deed=(Action.CANCEL, Resource.JOURNEY),
        names=lambda given: given.id,
        description="End a run for good. Whatever drives it is fenced at its next touch: nothing more is sent.",
    )
    async def journey_state_cancel(
        self, info: Info, input: Annotated[JourneyStateInput, described("The run.")]
    ) -> JourneyStateCancelPayload:
        runtime = info.context.runtime
        state_id, journey_id = _named(input)
        async with runtime.database.transaction() as conn:
            before = await cancel_in(conn, runtime, state_id, journey_id)
            await audit(conn, resource_id=state_id, before=_shown(before), after={"status": "exited"})
        stopped = await runtime.engine.cancel_run(state_id, before["engine_run_id"])
        return JourneyStateCancelPayload(
            state=await by_key(info.context, JourneyState, state_id), cancelled_in_engine=stopped
        )

    @mutation(
        scope=Scope.JOURNEY_ADMIN,
        payload=JourneyStateMovePayload,
        codes=StateErrorCode,
        deed=(Action.RETRY, Resource.JOURNEY),
        names=lambda given: given.id,
        description="Let a blocked or failed run go on from its journal. A send whose outcome nobody knows is "
        "sent again: resume it only when you know that it did not arrive.",
    )
    async def journey_state_resume(
        self, info: Info, input: Annotated[JourneyStateInput, described("The run.")]
    ) -> JourneyStateMovePayload:
        return await _move(info.context, input, resume_in)

    @mutation(
        scope=Scope.JOURNEY_ADMIN,
        payload=JourneyStateMovePayload,
        codes=StateErrorCode,
        deed=(Action.UPDATE, Resource.JOURNEY),
        names=lambda given: given.id,
        description="Take the step in which a run is stuck as done and go on behind it: a send counts as failed, "
        "a wait as timed out. Where the code changed, the open step is forgotten and the new code decides.",
    )
    async def journey_state_skip(
        self, info: Info, input: Annotated[JourneyStateInput, described("The run.")]
    ) -> JourneyStateMovePayload:
        return await _move(info.context, input, skip_in)

    @mutation(
        scope=Scope.JOURNEY_ADMIN,
        payload=JourneyStatesCancelPayload,
        codes=StateErrorCode,
        deed=(Action.CANCEL, Resource.JOURNEY),
        names=lambda given: given.journey_id,
        description="End many live runs. A dry run counts them and shows some.",
        cost=100,
    )
    async def journey_states_cancel(
        self, info: Info, input: Annotated[JourneyStatesCancelInput, described("Which runs.")]
    ) -> JourneyStatesCancelPayload:
        context = info.context

        async def effect(_claim: Claim | None) -> Mapping[str, Any]:
            chosen = await _chosen(context, input)
            cancelled = 0 if input.dry_run else await _cancel_all(context, chosen)
            sample = [str(state_id) for state_id in chosen[:SAMPLE]]
            return {"matched": len(chosen), "cancelled": cancelled, "sample": sample}

        answer = await once(
            context.runtime, "journeyStatesCancel", input.idempotency_key, given(input), effect
        )
        sample = [await by_key(context, JourneyState, UUID(one)) for one in answer["sample"]]
        return JourneyStatesCancelPayload(
            matched=answer["matched"],
            cancelled=answer["cancelled"],
            sample=[state for state in sample if state is not None],
        )


async def _switch(context: Context, id: str, *, enabled: bool) -> JourneySwitchPayload:
    journey_id = ids.name_of(id, "journey")
    runtime = context.runtime
    before = await Journey(key=journey_id, definition=find_journey(runtime, journey_id)).is_enabled(context)
    context.forget()
    async with runtime.database.transaction() as conn:
        await set_enabled(conn, runtime, journey_id, enabled=enabled)
        await audit(conn, resource_id=journey_id, before={"enabled": before}, after={"enabled": enabled})
    return JourneySwitchPayload(journey=Journey.named(context, journey_id))


def _named(input: JourneyStateInput) -> tuple[UUID, str | None]:
    state_id = ids.uuid_of(input.id, "state")
    if state_id is None:
        raise NotFound("Journey state")
    return state_id, None if input.journey_id is None else ids.name_of(input.journey_id, "journey")


async def _move(context: Context, input: JourneyStateInput, move: Any) -> JourneyStateMovePayload:
    state_id, _journey_id = _named(input)
    async with context.runtime.database.transaction() as conn:
        await move(conn, context.runtime, state_id)
        await audit(conn, resource_id=state_id, after={"status": "waiting"})
    return JourneyStateMovePayload(state=await by_key(context, JourneyState, state_id))


async def _chosen(context: Context, input: JourneyStatesCancelInput) -> list[UUID]:
    if input.journey_id is None and input.user_id is None and input.ids is None:
        raise InvalidInput("journeyId", "Say which runs: journeyId, userId or ids")
    journey_id = None
    if input.journey_id is not None:
        journey_id = find_journey(context.runtime, ids.name_of(input.journey_id, "journey")).id
    wanted = (
        None if input.ids is None else [found for one in input.ids if (found := ids.uuid_of(one, "state"))]
    )
    async with context.runtime.database.read() as conn:
        contact = None if input.user_id is None else await find(conn, input.user_id)
        if input.user_id is not None and contact is None:
            return []
        return await live_states(
            conn,
            journey_id=journey_id,
            contact_id=None if contact is None else contact["id"],
            ids=wanted,
            limit=MOST_AT_ONCE,
        )


async def _cancel_all(context: Context, chosen: list[UUID]) -> int:
    """In batches, each its own transaction: a run that ended meanwhile is left as it is."""
    runtime = context.runtime
    cancelled = 0
    for start in range(0, len(chosen), BATCH):
        async with runtime.database.transaction() as conn:
            for state_id in await live_states(conn, ids=chosen[start : start + BATCH], limit=BATCH):
                await cancel_in(conn, runtime, state_id)
                cancelled += 1
            await audit(conn, detail={"matched": len(chosen)})
    return cancelled


def _shown(row: Record) -> dict[str, Any]:
    return {"status": row["status"], "journeyId": row["journey_id"], "currentNodeId": row["current_node"]}
