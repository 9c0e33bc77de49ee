"""`eventsReplay`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import strawberry

from hogsend.access.audit import Action, Resource, audit
from hogsend.access.caller import Scope
from hogsend.access.idempotency import Claim, once
from hogsend.graphql.codes import error_codes
from hogsend.graphql.context import Info
from hogsend.graphql.fields import described
from hogsend.graphql.mutations import UserError, given, mutation
from hogsend.graphql.node import by_key
from hogsend.ingestion.replay_events import MOST_AT_ONCE, EventChoice, choose, replay_all
from hogsend.schema.events.types import Event

SAMPLE = 10


@error_codes("eventsReplay")
class EventsReplayErrorCode(Enum):
    INVALID = "invalid"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    IN_PROGRESS = "in_progress"


@strawberry.input(description="Which events, by what they are. At least one field.")
class EventsReplayFilter:
    event: str | None = strawberry.field(default=None, description="With this name.")
    user_id: str | None = strawberry.field(
        default=None, description="Of the contact with this externalId or UUID."
    )
    start: datetime | None = strawberry.field(
        default=None, name="from", description="That happened at this instant or later."
    )
    end: datetime | None = strawberry.field(
        default=None, name="to", description="That happened at this instant or before."
    )


@strawberry.input(description="Which events to send through the pipeline again: `eventIds` or `filter`.")
class EventsReplayInput:
    event_ids: list[strawberry.ID] | None = strawberry.field(default=None, description="These events.")
    filter: EventsReplayFilter | None = strawberry.field(default=None, description="The events that fit.")
    limit: int = strawberry.field(
        default=MOST_AT_ONCE, description=f"At most so many, the oldest first; 1 to {MOST_AT_ONCE:,}."
    )
    dry_run: bool = strawberry.field(default=False, description="Only say what would be replayed.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="The same key and input replay once and give the first answer again."
    )


@strawberry.type(description="An event that was not replayed.")
class EventsReplayError:
    event_id: str = strawberry.field(description="Its id, as given.")
    error: str = strawberry.field(description="Why.")


@strawberry.type(description="What `eventsReplay` did, or would do.")
class EventsReplayPayload:
    matched: int | None = strawberry.field(default=None, description="How many events fit.")
    replayed: int | None = strawberry.field(
        default=None, description="How many went through again; 0 in a dry run."
    )
    errors: list[EventsReplayError] | None = strawberry.field(default=None, description="Those that did not.")
    sample: list[Event] | None = strawberry.field(default=None, description=f"The first {SAMPLE} of them.")
    user_errors: list[UserError[EventsReplayErrorCode]] = strawberry.field(
        default_factory=list, description="What is wrong with the input; empty where all is well."
    )


@strawberry.type
class EventReplayMutation:
    @mutation(
        scope=Scope.FULL_ADMIN,
        payload=EventsReplayPayload,
        codes=EventsReplayErrorCode,
        audit_action=(Action.REPLAY, Resource.EVENT),
        description="Send stored events through the whole pipeline again. Entry guards apply, nothing is stored "
        "twice, and open waits are not satisfied by what happened before them.",
        cost=100,
    )
    async def events_replay(
        self, info: Info, input: Annotated[EventsReplayInput, described("Which events.")]
    ) -> EventsReplayPayload:
        runtime = info.context.runtime
        choice = _choice(input)

        async def effect(_claim: Claim | None) -> Mapping[str, Any]:
            chosen = await choose(runtime, choice)
            sample = [str(event_id) for event_id in chosen.event_ids[:SAMPLE]]
            errors = [{"event_id": one, "error": "Event not found"} for one in chosen.unknown]
            answer: dict[str, Any] = {
                "matched": len(chosen.event_ids),
                "replayed": 0,
                "errors": errors,
                "sample": sample,
            }
            if not input.dry_run:
                done = await replay_all(runtime, chosen)
                answer["replayed"] = done.replayed
                answer["errors"] = [{"event_id": one.event_id, "error": one.error} for one in done.errors]
            async with runtime.database.transaction() as conn:
                await audit(conn, detail={"matched": answer["matched"], "replayed": answer["replayed"]})
            return answer

        answer = await once(runtime, "eventsReplay", input.idempotency_key, _given(input), effect)
        sample = [await by_key(info.context, Event, UUID(one)) for one in answer["sample"]]
        return EventsReplayPayload(
            matched=answer["matched"],
            replayed=answer["replayed"],
            errors=[EventsReplayError(**one) for one in answer["errors"]],
            sample=[event for event in sample if event is not None],
        )


def _choice(input: EventsReplayInput) -> EventChoice:
    wanted = input.filter or EventsReplayFilter()
    return EventChoice(
        ids=None if input.event_ids is None else [str(one) for one in input.event_ids],
        name=wanted.event,
        user_id=wanted.user_id,
        start=wanted.start,
        end=wanted.end,
        limit=input.limit,
    )


def _given(input: EventsReplayInput) -> dict[str, Any]:
    plain = given(input)
    if input.filter is not None:
        plain["filter"] = {key: str(value) for key, value in given(input.filter).items()}
    return plain
