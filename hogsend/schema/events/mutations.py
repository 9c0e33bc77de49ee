"""Mutations of events: take one in, replay stored ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from hogsend.access.audit import Action, Resource, audit
from hogsend.access.caller import Scope
from hogsend.access.idempotency import Claim
from hogsend.events.event import NewEvent, check_event
from hogsend.graphql.context import Context, Info
from hogsend.graphql.fields import attribute, optional
from hogsend.graphql.mutations import Answer, idempotency_key, mutation, part, payload, sample_of
from hogsend.graphql.node import by_key
from hogsend.graphql.rows import to_one
from hogsend.ingestion.pipeline import ingest_in
from hogsend.ingestion.replay_events import (
    MOST_AT_ONCE,
    EventChoice,
    ReplayError,
    choose,
    replay_all,
)
from hogsend.schema.events.types import Event

SAMPLE = 10


@strawberry.input(
    description="An event to take in. One of `userId`, `email`, `anonymousId` says whose it is."
)
class EventIngestInput:
    name: str = attribute("What happened, e.g. `project.created`.")
    user_id: str | None = optional("The externalId of the person.")
    email: str | None = optional("The email address of the person.")
    anonymous_id: str | None = optional("What the person is known by before that.")
    event_properties: JSON | None = optional("An object that tells more about it.")
    contact_properties: JSON | None = optional(
        "An object to merge into the contact's properties; null removes a key."
    )
    timestamp: datetime | None = optional("When it happened; now unless told.")
    idempotency_key: str | None = optional("A key seen before changes nothing and answers `stored: false`.")

    def event(self) -> NewEvent:
        return NewEvent(
            name=self.name,
            external_id=self.user_id,
            email=self.email,
            anonymous_id=self.anonymous_id,
            properties=_object(self.event_properties),
            contact_properties=_object(self.contact_properties),
            occurred_at=self.timestamp,
            idempotency_key=self.idempotency_key,
        )


@strawberry.type(description="A run that listens for the event to end it.")
class EventExit:
    journey_id: str = attribute("The author's id of the journey.")
    exited: bool = attribute("False where the event does not fit the exit's conditions.")
    state_id: strawberry.Private[UUID]

    state = to_one("state", "state_id", "The run.")


@payload("What `eventIngest` did.", errors="INVALID")
class EventIngestPayload:
    stored: bool | None = part("False where the idempotency key was seen before: then nothing changed.")
    event: Event | None = part("The event, as it was stored first.")
    exits: list[EventExit] | None = part("The runs that it could end.")


def _object(value: Any) -> dict[str, Any]:
    """Leave what is not an object to ingestion's own check, which says so."""
    return {} if value is None else value


@strawberry.input(description="Which events, by what they are. At least one field.")
class EventsReplayFilter:
    event: str | None = optional("With this name.")
    user_id: str | None = optional("Of the contact with this externalId or UUID.")
    start: datetime | None = strawberry.field(
        default=None, name="from", description="That happened at this instant or later."
    )
    end: datetime | None = strawberry.field(
        default=None, name="to", description="That happened at this instant or before."
    )


@strawberry.input(description="Which events to send through the pipeline again: `eventIds` or `filter`.")
class EventsReplayInput:
    event_ids: list[strawberry.ID] | None = optional("These events.")
    filter: EventsReplayFilter | None = optional("The events that fit.")
    limit: int = strawberry.field(
        default=MOST_AT_ONCE, description=f"At most so many, the oldest first; 1 to {MOST_AT_ONCE:,}."
    )
    dry_run: bool = strawberry.field(default=False, description="Only say what would be replayed.")
    idempotency_key: str | None = idempotency_key("replay")


@strawberry.type(description="An event that was not replayed.")
class EventsReplayError:
    event_id: str = attribute("Its id, as given.")
    error: str = attribute("Why.")


@payload("What `eventsReplay` did, or would do.", errors="INVALID", keyed=True)
class EventsReplayPayload:
    matched: int | None = part("How many events fit.")
    replayed: int | None = part("How many went through again; 0 in a dry run.")
    errors: list[EventsReplayError] | None = part("Those that did not.")
    sample: list[Event] | None = part(f"The first {SAMPLE} of them.")

    @classmethod
    async def of(cls, context: Context, answer: Answer) -> EventsReplayPayload:
        return cls(
            matched=answer["matched"],
            replayed=answer["replayed"],
            errors=[EventsReplayError(**one) for one in answer["errors"]],
            sample=await sample_of(context, Event, answer["sample"]),
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


def _kept(matched: Sequence[object], replayed: int, errors: Sequence[ReplayError]) -> Answer:
    return {
        "matched": len(matched),
        "replayed": replayed,
        "errors": [{"event_id": one.event_id, "error": one.error} for one in errors],
        "sample": [str(event_id) for event_id in matched[:SAMPLE]],
    }


async def _would_replay(info: Info, input: EventsReplayInput) -> Answer:
    chosen = await choose(info.context.runtime, _choice(input))
    return _kept(chosen.event_ids, 0, [ReplayError(one, "Event not found") for one in chosen.unknown])


@strawberry.type
class EventMutation:
    @mutation(
        EventIngestPayload,
        claims_key=False,
        scope=Scope.INGEST,
        audits=(Action.CREATE, Resource.EVENT, None),
        description="Take an event in, with everything that follows from it, in one transaction.",
    )
    async def event_ingest(self, info: Info, input: EventIngestInput) -> EventIngestPayload:
        runtime, event = info.context.runtime, input.event()
        check_event(event, runtime.settings.nobodys_ids)
        async with runtime.database.transaction() as conn:
            result = await ingest_in(conn, runtime, event)
            await audit(conn, resource_id=result.event_id, detail={"stored": result.stored})
        runtime.fault_point("after_ingest_commit")
        return EventIngestPayload(
            stored=result.stored,
            event=await by_key(info.context, Event, result.event_id),
            exits=[
                EventExit(journey_id=one.journey_id, state_id=one.state_id, exited=one.exited)
                for one in result.exits
            ],
        )

    @mutation(
        EventsReplayPayload,
        scope=Scope.FULL_ADMIN,
        audits=(Action.REPLAY, Resource.EVENT, None),
        description="Send stored events through the whole pipeline again. Entry guards apply, nothing is stored "
        "twice, and open waits are not satisfied by what happened before them.",
        cost=100,
        preview=_would_replay,
        several=True,
    )
    async def events_replay(self, info: Info, input: EventsReplayInput, claim: Claim) -> Answer:
        done = await replay_all(info.context.runtime, _choice(input), claim)
        return _kept(done.done, done.replayed, done.errors)
