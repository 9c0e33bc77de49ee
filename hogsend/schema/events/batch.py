"""The mutation that takes many events in."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

import strawberry

from hogsend.access.audit import Action, Resource, audit
from hogsend.access.caller import Scope
from hogsend.access.rate_limits import Plane, RateLimiter
from hogsend.errors import InvalidInput
from hogsend.graphql.context import Info
from hogsend.graphql.fields import attribute, optional
from hogsend.graphql.mutations import mutation, part, payload
from hogsend.graphql.rows import to_one
from hogsend.ingestion.batch import MOST_EVENTS, NOT_TAKEN_IN, Answer, ingest_batch
from hogsend.ingestion.pipeline import IngestResult
from hogsend.schema.events.mutations import EventExit, EventIngestInput


@strawberry.input(
    description="Events to take in, in this order. Each may have an idempotency key of its own."
)
class EventsIngestInput:
    events: list[EventIngestInput] = attribute(f"The events; 1 to {MOST_EVENTS:,}.")


@strawberry.type(description="What is wrong with one event of a batch; nothing of it is stored.")
class EventsIngestError:
    field: list[str] = attribute("Path of the field within the event; empty where it is all of it.")
    message: str = attribute("What is wrong, and what the field takes.")
    retry: bool = attribute("True where the event is right, and may be sent again.")


@strawberry.type(description="What became of one event of a batch.")
class EventsIngestResult:
    stored: bool | None = optional(
        "False where the idempotency key was seen before: then nothing changed. Null where it was not taken in."
    )
    exits: list[EventExit] = attribute("The runs that it could end.")
    error: EventsIngestError | None = optional("Why it was not taken in; null where it was.")
    event_id: strawberry.Private[UUID | None]

    event = to_one("event", "event_id", "The event, as it was stored first; null where it was not taken in.")


@payload("What `eventsIngest` did.", errors="INVALID")
class EventsIngestPayload:
    stored: int | None = part("How many were stored.")
    results: list[EventsIngestResult] | None = part("What became of each, in the order of the input.")


@strawberry.type
class EventBatchMutation:
    @mutation(
        EventsIngestPayload,
        scope=Scope.INGEST,
        audits=(Action.CREATE, Resource.EVENT, None),
        description=f"Take up to {MOST_EVENTS:,} events in, with an answer each. What is wrong with one is nothing to "
        "the others. Each counts for the rate of the data plane.",
        cost=100,
        several=True,
    )
    async def events_ingest(self, info: Info, input: EventsIngestInput) -> EventsIngestPayload:
        context, wanted = info.context, input.events
        if not 1 <= len(wanted) <= MOST_EVENTS:
            raise InvalidInput("events", f"events must hold 1 to {MOST_EVENTS:,} events")
        runtime = context.runtime
        await runtime.part(RateLimiter).count(context.caller, Plane.DATA, len(wanted))
        results = [_result(one) for one in await ingest_batch(runtime, [one.event() for one in wanted])]
        counts = Counter(
            "failed" if one.error is not None else "stored" if one.stored else "seen" for one in results
        )
        async with runtime.database.transaction() as conn:
            await audit(conn, detail={"events": len(results), **counts})
        return EventsIngestPayload(stored=counts["stored"], results=results)


def _result(answer: Answer) -> EventsIngestResult:
    if isinstance(answer, IngestResult):
        exits = [
            EventExit(journey_id=one.journey_id, state_id=one.state_id, exited=one.exited)
            for one in answer.exits
        ]
        return EventsIngestResult(stored=answer.stored, exits=exits, error=None, event_id=answer.event_id)
    if isinstance(answer, InvalidInput):
        path = [part for part in answer.field.split(".") if part]
        wrong = EventsIngestError(field=path, message=answer.message, retry=False)
    else:
        wrong = EventsIngestError(field=[], message=NOT_TAKEN_IN, retry=True)
    return EventsIngestResult(stored=None, exits=[], error=wrong, event_id=None)
