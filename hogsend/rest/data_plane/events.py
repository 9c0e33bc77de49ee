"""Events of the data plane: take one in, or a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field, WrapValidator
from starlette.requests import Request

from hogsend.access.rate_limits import Plane
from hogsend.errors import InvalidInput
from hogsend.events.event import NewEvent
from hogsend.ingestion.batch import MOST_EVENTS, NOT_TAKEN_IN, Answer, ingest_batch
from hogsend.ingestion.ingest import ingest
from hogsend.ingestion.pipeline import IngestResult
from hogsend.rest.body import check_storable, items_apart, json_object
from hogsend.rest.components import ID, TEXT, YES, array_of, object_of
from hogsend.rest.data_plane.route import PERSON, DataRoute
from hogsend.rest.models import Body, Instant, Properties, parsed
from hogsend.runtime import Runtime


class EventIn(Body):
    """One event."""

    name: str = Field(description="What happened, `project.created`", min_length=1, max_length=200)
    email: str | None = Field(None, description=PERSON)
    user_id: str | None = Field(None, description="The person's id in your product. " + PERSON)
    event_properties: Properties | None = Field(None, description="What is known of the event")
    contact_properties: Properties | None = Field(
        None, description="Merged into the person's properties; null removes one"
    )
    timestamp: Instant | None = Field(None, description="When it happened; now where it is left out")
    idempotency_key: str | None = Field(
        None, description="The same key is the same event; the header `Idempotency-Key` outranks it"
    )


# As it came: what is wrong with one is said in its own answer.
_UnreadEvent = Annotated[EventIn, WrapValidator(lambda value, _read: value)]


class EventBatchIn(Body):
    """Many events."""

    events: list[_UnreadEvent] = Field(
        description="Taken in in this order; each as `POST /v1/events` takes it, with its own idempotency key",
        min_length=1,
        max_length=MOST_EVENTS,
    )


async def take_event(runtime: Runtime, request: Request) -> Mapping[str, Any]:
    body = parsed(EventIn, await json_object(request))
    key = request.headers.get("idempotency-key") or body.idempotency_key
    result = await ingest(runtime, replace(_event(body), idempotency_key=key))
    return {"stored": result.stored, "exits": _exits(result)}


async def take_batch(runtime: Runtime, request: Request) -> Mapping[str, Any]:
    """One that is wrong does not spoil the others. For the rate each event counts as a request."""
    body = parsed(EventBatchIn, await items_apart(request))
    if "idempotency-key" in request.headers:
        raise InvalidInput(
            "Idempotency-Key",
            "Idempotency-Key is of one event: give each event of a batch its idempotencyKey",
        )
    await request.state.admitted.count_more(runtime, Plane.DATA, len(body.events) - 1)
    answers = await ingest_batch(runtime, [_read(one) for one in body.events])
    return {"results": [_answer(answer) for answer in answers]}


def _event(body: EventIn) -> NewEvent:
    return NewEvent(
        name=body.name,
        external_id=body.user_id,
        email=body.email,
        properties=body.event_properties or {},
        contact_properties=body.contact_properties or {},
        occurred_at=body.timestamp,
        idempotency_key=body.idempotency_key,
    )


def _read(value: Any) -> NewEvent | InvalidInput:
    """One event of a batch, or what is wrong with it."""
    if not isinstance(value, dict):
        return InvalidInput("", "An event must be an object")
    try:
        check_storable(value)
        return _event(parsed(EventIn, value))
    except InvalidInput as error:
        return error


def _answer(answer: Answer) -> Mapping[str, Any]:
    if isinstance(answer, IngestResult):
        return {"stored": answer.stored, "eventId": str(answer.event_id), "exits": _exits(answer)}
    if isinstance(answer, InvalidInput):
        return {"error": {"field": answer.field, "message": answer.message, "retry": False}}
    return {"error": {"field": "", "message": NOT_TAKEN_IN, "retry": True}}


def _exits(result: IngestResult) -> list[Mapping[str, Any]]:
    return [
        {"journeyId": end.journey_id, "stateId": str(end.state_id), "exited": end.exited}
        for end in result.exits
    ]


_EXITS = array_of(object_of({"journeyId": TEXT, "stateId": ID, "exited": YES}))
_TAKEN = object_of({"stored": YES, "eventId": ID, "exits": _EXITS})
_REFUSED = object_of({"error": object_of({"field": TEXT, "message": TEXT, "retry": YES})})


ROUTES = (
    DataRoute(
        "POST /v1/events",
        "Take an event in: once it is answered it is never lost",
        take_event,
        202,
        object_of({"stored": YES, "exits": _EXITS}),
        body=EventIn,
    ),
    DataRoute(
        "POST /v1/events/batch",
        f"Take up to {MOST_EVENTS:,} events in, with an answer each, in their order: what is wrong with one is nothing "
        "to the others",
        take_batch,
        202,
        object_of({"results": array_of({"oneOf": [_TAKEN, _REFUSED]})}),
        body=EventBatchIn,
    ),
)
