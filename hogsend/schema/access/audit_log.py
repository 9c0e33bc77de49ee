"""The audit log in the schema."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from hogsend.access.audit import Action, Outcome, Resource
from hogsend.access.caller import Scope
from hogsend.errors import InvalidInput
from hogsend.graphql import ids
from hogsend.graphql.context import Info
from hogsend.graphql.enums import described_enum
from hogsend.graphql.fields import attribute, field, optional, wire_type
from hogsend.graphql.mapping import Filter, Mapped
from hogsend.graphql.node import TYPES, Node, bare_uuid
from hogsend.graphql.rows import rows, to_one
from hogsend.schema.access.collections import AUDIT
from hogsend.schema.access.types import ApiKey

described_enum(
    Action,
    "AuditAction",
    "What a mutation does, as the audit log has it.",
    {
        Action.CREATE: "Something was created, ingested or sent for the first time.",
        Action.UPDATE: "Something was changed.",
        Action.DELETE: "Something was deleted.",
        Action.REVOKE: "An API key was revoked.",
        Action.ENROLL: "Contacts were enrolled in a journey.",
        Action.CANCEL: "Runs of a journey were cancelled.",
        Action.IMPORT: "Contacts were imported from a file.",
        Action.EXPORT: "Contacts were exported.",
        Action.REPLAY: "Events were run through the pipeline again.",
        Action.RESEND: "An email was sent again.",
        Action.RETRY: "A dead letter was retried.",
        Action.DISCARD: "A dead letter was discarded.",
    },
)
described_enum(
    Resource,
    "AuditResource",
    "Kind of thing that a mutation acts on.",
    {
        Resource.CONTACT: "A contact, its preferences, or many contacts.",
        Resource.JOURNEY: "A journey or its runs.",
        Resource.API_KEY: "An API key.",
        Resource.ALERT_RULE: "An alert rule.",
        Resource.EMAIL: "An email.",
        Resource.EVENT: "An event.",
        Resource.DLQ: "A dead letter.",
    },
)
described_enum(
    Outcome,
    "AuditOutcome",
    "How a mutation ended.",
    {
        Outcome.OK: "It was done.",
        Outcome.REFUSED: "It was not done: the input was wrong, or the key lacks the scope.",
        Outcome.FAILED: "It was not done: an internal error.",
        Outcome.INTERRUPTED: "Its process died on the way: a part of it may be done. The same key goes on with it.",
    },
)

# The prefix of the type that each resource's id is a key of.
_PREFIXES = {
    Resource.CONTACT: "contact",
    Resource.JOURNEY: "journey",
    Resource.API_KEY: ApiKey.prefix,
    Resource.ALERT_RULE: "rule",
    Resource.EMAIL: "email",
    Resource.EVENT: "event",
    Resource.DLQ: "deadletter",
}


@wire_type("An audit log entry: one mutation of the admin API, refused and failed ones included.")
class AuditEntry(Node, collection=AUDIT):
    actor_key_id: strawberry.Private[UUID | None]
    created_at: datetime = attribute("When the mutation ran.")
    actor: str = attribute("Name of the calling API key; `legacy` for ADMIN_API_KEY.")
    action: Action = attribute("What the mutation does.")
    resource: Resource = attribute("Kind of thing that it acts on.")
    resource_id: str | None = attribute("Key of the thing that it acts on; null where it is not one thing.")
    outcome: Outcome = attribute("How it ended.")
    detail: JSON | None = attribute("Name of the mutation, its errors, and how many things it touched.")
    before: JSON | None = attribute("The thing before the mutation.")
    after: JSON | None = attribute("The thing after the mutation.")
    ip_address: str | None = attribute("IP address of the caller.")
    request_id: str | None = attribute("`X-Request-Id` of the request.")

    uuid = bare_uuid()

    @field("Bare UUID of the calling API key; null for ADMIN_API_KEY.")
    def key_uuid(self) -> UUID | None:
        return self.actor_key_id

    api_key = to_one(
        ApiKey.prefix, "actor_key_id", "The calling API key; null for ADMIN_API_KEY.", name="key"
    )

    @field("The thing that it acts on; null where that is gone, or is not one thing.")
    async def subject(self, info: Info) -> Node | None:
        kind = TYPES.get(_PREFIXES[self.resource])
        if kind is None or self.resource_id is None:
            return None
        return await kind.fetch(info.context, self.resource_id)


def _key_id(value: str) -> UUID:
    key = ids.uuid_of(value, ApiKey.prefix)
    if key is None:
        raise InvalidInput("keyId", "keyId must be the id of a key")
    return key


@strawberry.input(description="Filter of the audit log: all given fields must match.")
class AuditFilter(Filter, filters={"key_id": Mapped("actor_key_id", _key_id)}):
    actor: str | None = optional("Only entries of API keys with this name.")
    key_id: strawberry.ID | None = optional("Only entries of this API key.")
    action: Action | None = optional("Only entries with this action.")
    resource: Resource | None = optional("Only entries about this kind of thing.")
    resource_id: str | None = optional("Only entries about this thing.")
    outcome: Outcome | None = optional("Only entries with this outcome.")
    from_: datetime | None = optional("Only entries at or after this instant.", name="from")
    to: datetime | None = optional("Only entries at or before this instant.")


@strawberry.type
class AuditQuery:
    audit_log = rows(AUDIT, scope=Scope.READ, filter=AuditFilter, description="The audit log, newest first.")
