"""Mutations of runs: cancel one or many, resume, skip a step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import strawberry
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.access.audit import Action, Resource, audit
from hogsend.access.caller import Scope
from hogsend.access.idempotency import Claim
from hogsend.contacts.lookup import find
from hogsend.errors import InvalidInput
from hogsend.graphql import ids
from hogsend.graphql.context import Context, Info
from hogsend.graphql.fields import attribute, optional
from hogsend.graphql.mutations import (
    Answer,
    idempotency_key,
    mutation,
    named_by,
    named_by_id,
    part,
    payload,
    sample_of,
)
from hogsend.graphql.node import by_key
from hogsend.operations.cancel import cancel_in, live_states
from hogsend.operations.stuck_runs import resume_in, skip_in
from hogsend.operations.switch import find_journey
from hogsend.runtime import Runtime
from hogsend.schema.journeys.runs import JourneyState

MOST_AT_ONCE = 10_000
BATCH = 100
SAMPLE = 10

ChangeRun = Callable[[AsyncConnection, Runtime, UUID], Awaitable[RowMapping]]


@strawberry.input
class OneRun:
    """What each mutation of one run takes."""

    id: strawberry.ID = attribute("The run's id, or its bare UUID.")


@strawberry.input(description="Which run to resume.")
class JourneyStateResumeInput(OneRun):
    pass


@strawberry.input(description="Which run to bring past its step.")
class JourneyStateSkipInput(OneRun):
    pass


@strawberry.input(description="Which run to end.")
class JourneyStateCancelInput(OneRun):
    journey_id: strawberry.ID | None = optional("Refuse a run of any other journey.")


@strawberry.type
class ChangedRun:
    """What each mutation of one run answers."""

    state: JourneyState | None = part("The run as it is now.")


@payload("What `journeyStateCancel` did.", errors="NOT_FOUND ALREADY_ENDED")
class JourneyStateCancelPayload(ChangedRun):
    cancelled_in_engine: bool | None = part(
        "Whether the engine really stopped something; its fence holds either way."
    )


@payload("What `journeyStateResume` did.", errors="NOT_FOUND NOT_STUCK ALREADY_IN_JOURNEY")
class JourneyStateResumePayload(ChangedRun):
    pass


@payload("What `journeyStateSkip` did.", errors="NOT_FOUND NOT_STUCK NOTHING_TO_SKIP ALREADY_IN_JOURNEY")
class JourneyStateSkipPayload(ChangedRun):
    pass


@strawberry.input(description="Which live runs; at least one of journeyId, userId and ids.")
class JourneyStatesCancelInput:
    journey_id: strawberry.ID | None = optional("Runs of this journey.")
    user_id: str | None = optional("Runs of the contact with this externalId or UUID.")
    ids: list[strawberry.ID] | None = optional("These runs.")
    dry_run: bool = strawberry.field(default=False, description="Only say what would be cancelled.")
    idempotency_key: str | None = idempotency_key("cancel")


@payload("What `journeyStatesCancel` did, or would do.", errors="INVALID NOT_FOUND", keyed=True)
class JourneyStatesCancelPayload:
    matched: int | None = part(f"How many live runs fit, at most {MOST_AT_ONCE:,} at once.")
    cancelled: int | None = part("How many were ended; 0 in a dry run.")
    sample: list[JourneyState] | None = part(f"The first {SAMPLE} of them.")

    @classmethod
    async def of(cls, context: Context, answer: Answer) -> JourneyStatesCancelPayload:
        return cls(
            matched=answer["matched"],
            cancelled=answer["cancelled"],
            sample=await sample_of(context, JourneyState, answer["sample"]),
        )


async def _chosen(context: Context, input: JourneyStatesCancelInput, limit: int = MOST_AT_ONCE) -> list[UUID]:
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
            limit=limit,
        )


def _with(so_far: Answer, chosen: Sequence[UUID], cancelled: int) -> Answer:
    """What was done `so_far`, and with these runs besides."""
    sample = [*so_far.get("sample", []), *map(str, chosen[:SAMPLE])]
    return {
        "matched": so_far.get("matched", 0) + len(chosen),
        "cancelled": so_far.get("cancelled", 0) + cancelled,
        "sample": sample[:SAMPLE],
    }


async def _would_cancel(info: Info, input: JourneyStatesCancelInput) -> Answer:
    return _with({}, await _chosen(info.context, input), 0)


@strawberry.type
class RunMutation:
    @mutation(
        JourneyStateCancelPayload,
        scope=Scope.JOURNEY_ADMIN,
        audits=(Action.CANCEL, Resource.JOURNEY, named_by_id(JourneyState.prefix)),
        description="End a run for good. Whatever drives it is fenced at its next touch: nothing more is sent.",
    )
    async def journey_state_cancel(
        self, info: Info, input: JourneyStateCancelInput
    ) -> JourneyStateCancelPayload:
        journey_id = None if input.journey_id is None else ids.name_of(input.journey_id, "journey")
        cancel = partial(cancel_in, journey_id=journey_id)
        before = await _change_run(info.context, input.id, cancel, becomes="exited")
        stopped = await info.context.runtime.engine.cancel_run(before["id"], before["engine_run_id"])
        state = await by_key(info.context, JourneyState, before["id"])
        return JourneyStateCancelPayload(state=state, cancelled_in_engine=stopped)

    @mutation(
        JourneyStateResumePayload,
        scope=Scope.JOURNEY_ADMIN,
        audits=(Action.RETRY, Resource.JOURNEY, named_by_id(JourneyState.prefix)),
        description="Let a blocked or failed run go on from its journal. A send whose outcome nobody knows is "
        "sent again: resume it only when you know that it did not arrive.",
    )
    async def journey_state_resume(
        self, info: Info, input: JourneyStateResumeInput
    ) -> JourneyStateResumePayload:
        return JourneyStateResumePayload(state=await _go_on(info.context, input.id, resume_in))

    @mutation(
        JourneyStateSkipPayload,
        scope=Scope.JOURNEY_ADMIN,
        audits=(Action.UPDATE, Resource.JOURNEY, named_by_id(JourneyState.prefix)),
        description="Take the step in which a run is stuck as done and go on behind it: a send counts as failed, "
        "a wait as timed out. Where the code changed, its journal is forgotten from the first step that does not fit, "
        "and the new code decides; a send that it asks for again is not sent twice.",
    )
    async def journey_state_skip(self, info: Info, input: JourneyStateSkipInput) -> JourneyStateSkipPayload:
        return JourneyStateSkipPayload(state=await _go_on(info.context, input.id, skip_in))

    @mutation(
        JourneyStatesCancelPayload,
        scope=Scope.JOURNEY_ADMIN,
        audits=(Action.CANCEL, Resource.JOURNEY, named_by("journey_id")),
        description="End many live runs. A dry run counts them and shows some.",
        cost=100,
        preview=_would_cancel,
        several=True,
    )
    async def journey_states_cancel(
        self, info: Info, input: JourneyStatesCancelInput, claim: Claim
    ) -> Answer:
        so_far = claim.progress
        chosen = await _chosen(info.context, input, MOST_AT_ONCE - so_far.get("matched", 0))
        return await _cancel_all(info.context.runtime, chosen, claim, so_far)


async def _change_run(context: Context, id: str, change: ChangeRun, *, becomes: str) -> RowMapping:
    """Cancel, resume or skip, with its audit row. Returns the run as it was before."""
    state_id = ids.key_of(id, JourneyState.prefix, "Journey state")
    async with context.runtime.database.transaction() as conn:
        before = await change(conn, context.runtime, state_id)
        await audit(conn, resource_id=state_id, before=_audit_view(before), after={"status": becomes})
    return before


async def _go_on(context: Context, id: str, change: ChangeRun) -> JourneyState | None:
    before = await _change_run(context, id, change, becomes="waiting")
    return await by_key(context, JourneyState, before["id"])


def _audit_view(run: RowMapping) -> dict[str, Any]:
    return {"status": run["status"], "journeyId": run["journey_id"], "currentNodeId": run["current_node"]}


async def _cancel_all(runtime: Runtime, chosen: Sequence[UUID], claim: Claim, so_far: Answer) -> Answer:
    """In batches, each its own transaction: a run that ended meanwhile is left as it is. Locks by id."""
    for start in range(0, len(chosen), BATCH):
        batch = chosen[start : start + BATCH]
        async with runtime.database.transaction() as conn:
            live = sorted(await live_states(conn, ids=batch, limit=BATCH))
            for state_id in live:
                await cancel_in(conn, runtime, state_id)
            so_far = _with(so_far, batch, len(live))
            await claim.keep(conn, so_far)
        runtime.fault_point("after_cancel_batch")
    answer = _with(so_far, (), 0)
    async with runtime.database.transaction() as conn:
        await audit(conn, detail={name: answer[name] for name in ("matched", "cancelled")})
        await claim.answer(conn, answer)
    return answer
