"""Events of the data plane: take one in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field
from starlette.requests import Request

from hogsend.events.event import NewEvent
from hogsend.ingestion.ingest import ingest
from hogsend.rest.body import json_object
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


async def take_event(runtime: Runtime, request: Request) -> Mapping[str, Any]:
    body = parsed(EventIn, await json_object(request))
    result = await ingest(
        runtime,
        NewEvent(
            name=body.name,
            external_id=body.user_id,
            email=body.email,
            properties=body.event_properties or {},
            contact_properties=body.contact_properties or {},
            occurred_at=body.timestamp,
            idempotency_key=request.headers.get("idempotency-key") or body.idempotency_key,
        ),
    )
    exits = [
        {"journeyId": end.journey_id, "stateId": str(end.state_id), "exited": end.exited}
        for end in result.exits
    ]
    return {"stored": result.stored, "exits": exits}


ROUTES = (
    DataRoute(
        "POST /v1/events",
        "Take an event in: once it is answered it is never lost",
        take_event,
        202,
        object_of(
            {"stored": YES, "exits": array_of(object_of({"journeyId": TEXT, "stateId": ID, "exited": YES}))}
        ),
        body=EventIn,
    ),
)
