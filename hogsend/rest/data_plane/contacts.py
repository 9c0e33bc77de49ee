"""Contacts of the data plane: put, find and delete a person by email or userId."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field
from starlette.requests import Request

from hogsend.clock import instant_text
from hogsend.contacts.actions import delete_contact
from hogsend.contacts.identity_keys import Contact, Keys
from hogsend.contacts.lookup import find_by
from hogsend.contacts.resolve import resolve
from hogsend.errors import InvalidInput, NotFound
from hogsend.rest.body import json_object
from hogsend.rest.components import ID, YES, array_of, object_of, reference
from hogsend.rest.data_plane.route import PERSON, DataRoute
from hogsend.rest.models import Body, Properties, parsed
from hogsend.runtime import Runtime
from hogsend.validation import MAX_KEY, check_properties, check_text


class ContactIn(Body):
    """A person, by what you know of them."""

    email: str | None = Field(None, description=PERSON)
    user_id: str | None = Field(None, description=PERSON)
    properties: Properties | None = Field(None, description="Merged at the top level; null removes one")


class PersonIn(Body):
    """Who is meant."""

    email: str | None = Field(None, description=PERSON)
    user_id: str | None = Field(None, description=PERSON)


async def put_contact(runtime: Runtime, request: Request) -> Mapping[str, Any]:
    body = parsed(ContactIn, await json_object(request))
    _check_person(body.email, body.user_id)
    properties = body.properties or {}
    check_properties("properties", properties)
    keys = Keys.of(body.user_id, body.email, refused=runtime.settings.nobodys_ids)
    async with runtime.database.transaction() as conn:
        resolved = await resolve(conn, runtime.clock, keys, properties)
    return {
        "id": str(resolved.contact["id"]),
        "created": resolved.created,
        "linked": resolved.linked,
    }


async def find_contacts(runtime: Runtime, request: Request) -> Mapping[str, Any]:
    person = parsed(PersonIn, dict(request.query_params))
    return {"contacts": [contact_json(contact) for contact in await _found(runtime, person)]}


async def remove_contact(runtime: Runtime, request: Request) -> Mapping[str, Any]:
    person = parsed(PersonIn, await json_object(request) or dict(request.query_params))
    found = await _found(runtime, person)
    if not found:
        raise NotFound("Contact")
    for contact in found:
        # One transaction each: nobody holds one contact's lock while waiting for another's.
        async with runtime.database.transaction() as conn:
            await delete_contact(conn, runtime.clock, contact["id"])
    return {"deleted": True}


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


ROUTES = (
    DataRoute(
        "PUT /v1/contacts",
        "Find a person by either key, fill in the other, make or merge contacts as that demands",
        put_contact,
        200,
        object_of({"id": ID, "created": YES, "linked": YES}),
        body=ContactIn,
    ),
    DataRoute(
        "GET /v1/contacts/find",
        "The contacts that have this email or this userId",
        find_contacts,
        200,
        object_of({"contacts": array_of(reference("Contact"))}),
        query=("email", "userId"),
    ),
    DataRoute(
        "DELETE /v1/contacts",
        "Delete a person: their runs end, and nothing more is sent to them",
        remove_contact,
        200,
        object_of({"deleted": {"const": True}}),
        body=PersonIn,
        query=("email", "userId"),
        not_found="Contact not found",
    ),
)
