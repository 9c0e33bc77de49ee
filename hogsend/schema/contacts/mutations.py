"""Mutations of contacts and of their preferences."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from hogsend.access.audit import Action, Resource
from hogsend.access.caller import Scope
from hogsend.contacts import actions
from hogsend.contacts.actions import UNTOUCHED, PreferencesUpdate
from hogsend.errors import NotFound
from hogsend.graphql.context import Context, Info
from hogsend.graphql.fields import attribute, optional
from hogsend.graphql.mutations import mutation, named_by, part, payload
from hogsend.graphql.node import by_key
from hogsend.runtime import Runtime
from hogsend.schema.contacts.types import Contact, ContactBy, ContactPreferences, find_contact

PROPERTIES = "An object, merged into the properties at the top level; null removes a property."


@strawberry.input(description="A contact to make.")
class ContactCreateInput:
    external_id: str | None = optional("The id that your product knows it by. This or an email is needed.")
    email: str | None = optional("Its email address; it is trimmed and lower-cased.")
    properties: JSON | None = optional("An object: what is known about it.")


@strawberry.input(description="What to change on which contact.")
class ContactUpdateInput:
    by: ContactBy = attribute("Which contact.")
    email: str | None = strawberry.field(
        default=strawberry.UNSET, description="Its new address; null takes it away."
    )
    properties: JSON | None = optional(PROPERTIES)


@strawberry.input(description="A contact to find by either key, or to make.")
class ContactUpsertInput:
    external_id: str | None = optional("The id that your product knows it by. This or an email is needed.")
    email: str | None = optional("Its email address.")
    properties: JSON | None = optional(PROPERTIES)


@strawberry.input(description="Which contact to delete.")
class ContactDeleteInput:
    by: ContactBy = attribute("Which contact.")


@strawberry.input(description="What a contact agreed to. What is left out stays as it is.")
class ContactPreferencesUpdateInput:
    by: ContactBy = attribute("Which contact.")
    unsubscribed_all: bool | None = optional("Whether it wants no email but transactional ones.")
    suppressed: bool | None = optional(
        "Whether nothing at all is sent to its address; false lifts bounces and complaints too."
    )
    categories: JSON | None = optional("`{category: subscribed}`, merged into what is known.")


@payload("What `contactCreate` made.", errors="INVALID EXTERNAL_ID_TAKEN EMAIL_TAKEN")
class ContactCreatePayload:
    contact: Contact | None = part("The new contact.")


@payload("What `contactUpdate` changed.", errors="INVALID NOT_FOUND EMAIL_TAKEN")
class ContactUpdatePayload:
    contact: Contact | None = part("The contact as it now is.")


@payload("What `contactUpsert` found or made.", errors="INVALID")
class ContactUpsertPayload:
    contact: Contact | None = part("The contact as it now is.")
    created: bool | None = part("Whether it was made just now.")
    linked: bool | None = part("Whether it took on a key, or another contact was merged into it.")
    merged_contact_ids: list[UUID] | None = part(
        "The bare UUIDs of the contacts that were merged into it; they keep resolving."
    )


@payload("What `contactDelete` did.", errors="NOT_FOUND")
class ContactDeletePayload:
    deleted_contact_id: strawberry.ID | None = part("The id of the contact that is gone.")


@payload("What `contactPreferencesUpdate` changed.", errors="INVALID NOT_FOUND NO_EMAIL_ADDRESS")
class ContactPreferencesUpdatePayload:
    preferences: ContactPreferences | None = part("The preferences as they now are.")


def _named(input: Any) -> str | None:
    """What the caller called the contact, for the audit log."""
    by: ContactBy = input.by
    given = next((key for key in (by.ref, by.id, by.external_id, by.email) if key is not None), None)
    return None if given is None else str(given.value)


async def _id_of(context: Context, by: ContactBy) -> UUID:
    row = await find_contact(context, by)
    if row is None:
        raise NotFound("Contact")
    return UUID(str(row["id"]))


def _object(value: Any) -> Any:
    """Leave what is not an object to the action's own check, which says so."""
    return {} if value is None else value


def _by_keys(runtime: Runtime, input: ContactCreateInput | ContactUpsertInput) -> dict[str, Any]:
    """What the actions that make a contact by its keys take."""
    return {
        "external_id": input.external_id,
        "email": input.email,
        "properties": _object(input.properties),
        "refused": runtime.settings.nobodys_ids,
    }


@strawberry.type
class ContactMutation:
    @mutation(
        ContactCreatePayload,
        scope=Scope.FULL_ADMIN,
        audits=(Action.CREATE, Resource.CONTACT, named_by("external_id", "email")),
        description="Make a contact. One that has a key already is an error; `contactUpsert` takes either.",
    )
    async def contact_create(self, info: Info, input: ContactCreateInput) -> ContactCreatePayload:
        runtime = info.context.runtime
        async with runtime.database.transaction() as conn:
            made = await actions.create(conn, runtime.clock, **_by_keys(runtime, input))
        return ContactCreatePayload(contact=await by_key(info.context, Contact, made["id"]))

    @mutation(
        ContactUpdatePayload,
        scope=Scope.FULL_ADMIN,
        audits=(Action.UPDATE, Resource.CONTACT, _named),
        description="Change a contact's address or properties.",
    )
    async def contact_update(self, info: Info, input: ContactUpdateInput) -> ContactUpdatePayload:
        runtime = info.context.runtime
        contact_id = await _id_of(info.context, input.by)
        async with runtime.database.transaction() as conn:
            changed = await actions.update_contact(
                conn,
                runtime.clock,
                contact_id,
                email=UNTOUCHED if input.email is strawberry.UNSET else input.email,
                properties=_object(input.properties),
            )
        return ContactUpdatePayload(contact=await by_key(info.context, Contact, changed["id"]))

    @mutation(
        ContactUpsertPayload,
        scope=Scope.FULL_ADMIN,
        audits=(Action.UPDATE, Resource.CONTACT, named_by("external_id", "email")),
        description="Find a contact by either key, fill in the missing one, merge two where each key has its own, "
        "or make one.",
    )
    async def contact_upsert(self, info: Info, input: ContactUpsertInput) -> ContactUpsertPayload:
        runtime = info.context.runtime
        async with runtime.database.transaction() as conn:
            found = await actions.upsert(conn, runtime.clock, **_by_keys(runtime, input))
        return ContactUpsertPayload(
            contact=await by_key(info.context, Contact, found.contact["id"]),
            created=found.created,
            linked=found.linked,
            merged_contact_ids=found.merged,
        )

    @mutation(
        ContactDeletePayload,
        scope=Scope.FULL_ADMIN,
        audits=(Action.DELETE, Resource.CONTACT, _named),
        description="Delete a contact: its runs end, nothing more is sent to it, its keys are free again. What it "
        "refused is kept, and holds for whoever comes with its address.",
    )
    async def contact_delete(self, info: Info, input: ContactDeleteInput) -> ContactDeletePayload:
        runtime = info.context.runtime
        contact_id = await _id_of(info.context, input.by)
        async with runtime.database.transaction() as conn:
            gone = await actions.delete_contact(conn, runtime.clock, contact_id)
        return ContactDeletePayload(deleted_contact_id=strawberry.ID(f"{Contact.prefix}_{gone['id']}"))

    @mutation(
        ContactPreferencesUpdatePayload,
        scope=Scope.FULL_ADMIN,
        audits=(Action.UPDATE, Resource.CONTACT, _named),
        description="Say what a contact agreed to. Each change has its decision.",
    )
    async def contact_preferences_update(
        self, info: Info, input: ContactPreferencesUpdateInput
    ) -> ContactPreferencesUpdatePayload:
        runtime = info.context.runtime
        contact_id = await _id_of(info.context, input.by)
        wish = PreferencesUpdate(input.unsubscribed_all, input.suppressed, input.categories)  # type: ignore[arg-type]
        async with runtime.database.transaction() as conn:
            row = await actions.update_preferences(conn, runtime.clock, contact_id, wish)
        return ContactPreferencesUpdatePayload(
            preferences=await by_key(info.context, ContactPreferences, row["id"])
        )
