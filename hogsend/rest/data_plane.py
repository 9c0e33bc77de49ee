"""The data plane: what products send in. Scope ingest, a rate of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hogsend.access.caller import Scope
from hogsend.access.client_address import address_of
from hogsend.access.gate import admit
from hogsend.access.idempotency import Answer, Claim, once
from hogsend.access.rate_limits import Plane
from hogsend.clock import instant_text
from hogsend.contacts.actions import delete_contact
from hogsend.contacts.identity_keys import Contact, Keys
from hogsend.contacts.lookup import find_by
from hogsend.contacts.resolve import resolve
from hogsend.decisions.reasons import Reason
from hogsend.emails.sending.direct import SendStatus, send_in, send_status
from hogsend.emails.sending.request import EmailRequest
from hogsend.errors import HogsendError, InvalidInput, NotFound
from hogsend.events.event import NewEvent
from hogsend.ingestion.ingest import ingest
from hogsend.rest.body import json_object
from hogsend.rest.errors import JSONResponse, on_hogsend_error
from hogsend.rest.models import Body, Instant, Properties, parsed
from hogsend.runtime import Runtime
from hogsend.validation import MAX_KEY, check_properties, check_text

PERSON = "One of `email` and `userId` says who it is."


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


class ContactIn(Body):
    """A person, by what you know of them."""

    email: str | None = Field(None, description=PERSON)
    user_id: str | None = Field(None, description=PERSON)
    properties: Properties | None = Field(None, description="Merged at the top level; null removes one")


class PersonIn(Body):
    """Who is meant."""

    email: str | None = Field(None, description=PERSON)
    user_id: str | None = Field(None, description=PERSON)


class EmailIn(Body):
    """One email from a template."""

    to: str | None = Field(None, description="An address; outranks the person's own")
    user_id: str | None = Field(None, description="The person's id in your product, or their contact's id")
    template: str = Field(description="The template's key")
    props: Properties | None = Field(None, description="What the template shows")
    subject: str | None = Field(None, description="Instead of the template's")
    from_: str | None = Field(None, alias="from", description="Instead of the setting's sender")
    reply_to: str | None = None
    category: str | None = Field(None, description="Instead of the template's; what people unsubscribe from")
    idempotency_key: str | None = Field(None, description="The same key is the same email")


Handler = Callable[[Runtime, Request], Awaitable[tuple[int, Mapping[str, Any]]]]


@dataclass(frozen=True)
class DataRoute:
    """One route of the data plane. `answer` is the JSON Schema of its success."""

    method: str
    path: str
    handler: Handler
    summary: str
    status: int
    answer: Mapping[str, Any]
    body: type[Body] | None = None
    query: tuple[str, ...] = ()
    not_found: str | None = None


async def take_event(runtime: Runtime, request: Request) -> tuple[int, Mapping[str, Any]]:
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
    return 202, {"stored": result.stored, "exits": exits}


async def put_contact(runtime: Runtime, request: Request) -> tuple[int, Mapping[str, Any]]:
    body = parsed(ContactIn, await json_object(request))
    _check_person(body.email, body.user_id)
    properties = body.properties or {}
    check_properties("properties", properties)
    keys = Keys.of(body.user_id, body.email, refused=runtime.settings.nobodys_ids)
    async with runtime.database.transaction() as conn:
        resolved = await resolve(conn, runtime.clock, keys, properties)
    return 200, {
        "id": str(resolved.contact["id"]),
        "created": resolved.created,
        "linked": resolved.linked,
    }


async def find_contacts(runtime: Runtime, request: Request) -> tuple[int, Mapping[str, Any]]:
    person = parsed(PersonIn, dict(request.query_params))
    return 200, {"contacts": [contact_json(contact) for contact in await _found(runtime, person)]}


async def remove_contact(runtime: Runtime, request: Request) -> tuple[int, Mapping[str, Any]]:
    person = parsed(PersonIn, await json_object(request) or dict(request.query_params))
    found = await _found(runtime, person)
    if not found:
        raise NotFound("Contact")
    for contact in found:
        # One transaction each: nobody holds one contact's lock while waiting for another's.
        async with runtime.database.transaction() as conn:
            await delete_contact(conn, runtime.clock, contact["id"])
    return 200, {"deleted": True}


async def send_email(runtime: Runtime, request: Request) -> tuple[int, Mapping[str, Any]]:
    body = parsed(EmailIn, await json_object(request))
    wish = EmailRequest(
        template=body.template,
        to=body.to,
        user_id=body.user_id,
        props=body.props or {},
        subject=body.subject,
        from_email=body.from_,
        reply_to=body.reply_to,
        category=body.category,
    )
    key = request.headers.get("idempotency-key") or body.idempotency_key

    async def effect(claim: Claim) -> Answer:
        async with runtime.database.transaction() as conn:
            prepared = await send_in(conn, runtime, wish, key=key, reason=Reason.API_ASKED)
            answer: dict[str, Any] = {
                "emailSendId": str(prepared.email_id),
                "status": send_status(prepared).value,
            }
            if prepared.refusal is not None:
                answer["reason"] = prepared.refusal.value
            await claim.answer(conn, answer)
        return answer

    return 202, await once(runtime, "POST /v1/emails", key, asdict(wish), effect)


def contact_json(contact: Contact) -> dict[str, Any]:
    """A contact as the contract shows it."""
    return {
        "id": str(contact["id"]),
        "externalId": contact["external_id"],
        "email": contact["email"],
        "properties": contact["properties"],
        **{
            wire: instant_text(contact[column])
            for wire, column in (
                ("firstSeenAt", "first_seen_at"),
                ("lastSeenAt", "last_seen_at"),
                ("createdAt", "created_at"),
                ("updatedAt", "updated_at"),
            )
        },
    }


async def _found(runtime: Runtime, person: PersonIn) -> list[Contact]:
    """Those who have either key, each once."""
    _check_person(person.email, person.user_id)
    async with runtime.database.read() as conn:
        matches = [
            await find_by(conn, email=person.email) if person.email else None,
            await find_by(conn, external_id=person.user_id) if person.user_id else None,
        ]
    return list({match["id"]: match for match in matches if match is not None}.values())


def _check_person(email: str | None, user_id: str | None) -> None:
    if not email and not user_id:
        raise InvalidInput("email", "Say who it is: email or userId is required")
    for name, value in (("email", email), ("userId", user_id)):
        if value:
            check_text(name, value, MAX_KEY)


_STATED = {"type": "boolean"}
_ID = {"type": "string", "format": "uuid"}
_TEXT = {"type": "string"}


def _object(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


ROUTES: tuple[DataRoute, ...] = (
    DataRoute(
        "POST",
        "/v1/events",
        take_event,
        "Take an event in: once it is answered it is never lost",
        202,
        _object(
            {
                "stored": _STATED,
                "exits": {
                    "type": "array",
                    "items": _object({"journeyId": _TEXT, "stateId": _ID, "exited": _STATED}),
                },
            }
        ),
        body=EventIn,
    ),
    DataRoute(
        "PUT",
        "/v1/contacts",
        put_contact,
        "Find a person by either key, fill in the other, make or merge contacts as that demands",
        200,
        _object({"id": _ID, "created": _STATED, "linked": _STATED}),
        body=ContactIn,
    ),
    DataRoute(
        "GET",
        "/v1/contacts/find",
        find_contacts,
        "The contacts that have this email or this userId",
        200,
        _object({"contacts": {"type": "array", "items": {"$ref": "#/components/schemas/Contact"}}}),
        query=("email", "userId"),
    ),
    DataRoute(
        "DELETE",
        "/v1/contacts",
        remove_contact,
        "Delete a person: their runs end, and nothing more is sent to them",
        200,
        _object({"deleted": {"const": True}}),
        body=PersonIn,
        not_found="Contact not found",
    ),
    DataRoute(
        "POST",
        "/v1/emails",
        send_email,
        "Send one email from a template",
        202,
        _object(
            {
                "emailSendId": _ID,
                "status": {"type": "string", "enum": [status.value for status in SendStatus]},
            },
            {"reason": {"type": "string", "enum": [reason.value for reason in Reason]}},
        ),
        body=EmailIn,
        not_found="Contact not found",
    ),
)


def _endpoint(route: DataRoute) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        runtime: Runtime = request.app.state.runtime
        admitted = await admit(runtime, request.headers.get("authorization"), address_of(request), Plane.DATA)
        admitted.require(Scope.INGEST)
        try:
            status, answer = await route.handler(runtime, request)
            response: Response = JSONResponse(answer, status)
        except HogsendError as error:
            response = on_hogsend_error(request, error)
        response.headers.update(admitted.rate.headers)
        return response

    return endpoint


routes = [Route(route.path, _endpoint(route), methods=[route.method]) for route in ROUTES]
