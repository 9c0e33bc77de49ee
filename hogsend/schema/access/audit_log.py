"""The audit log on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from hogsend.access.audit import Action, Outcome, Resource
from hogsend.access.caller import Scope
from hogsend.errors import InvalidInput
from hogsend.graphql import ids
from hogsend.graphql.connections import connection
from hogsend.graphql.context import Info
from hogsend.graphql.enums import described_enum
from hogsend.graphql.fields import described, field
from hogsend.graphql.node import TYPES, Columns, Node, bare_uuid, link
from hogsend.schema.access.collections import AUDIT
from hogsend.schema.access.types import ApiKey
from hogsend.storage.collections import Selection

described_enum(
    Action,
    "AuditAction",
    "What was done.",
    {
        Action.CREATE: "Made, taken in or sent for the first time.",
        Action.UPDATE: "Changed.",
        Action.DELETE: "Deleted.",
        Action.REVOKE: "A key was revoked.",
        Action.ENROLL: "People were enrolled in a journey.",
        Action.CANCEL: "Runs of a journey were cancelled.",
        Action.IMPORT: "Contacts were imported from a file.",
        Action.EXPORT: "Contacts were exported.",
        Action.REPLAY: "Events were run through the pipeline again.",
        Action.RESEND: "An email was sent again.",
        Action.RETRY: "A dead letter was tried again.",
        Action.DISCARD: "A dead letter was given up.",
    },
)
described_enum(
    Resource,
    "AuditResource",
    "What it was done to.",
    {
        Resource.CONTACT: "A contact, its preferences, or many contacts.",
        Resource.JOURNEY: "A journey or its runs.",
        Resource.API_KEY: "A key.",
        Resource.ALERT_RULE: "A rule that alerts.",
        Resource.EMAIL: "An email.",
        Resource.EVENT: "An event.",
        Resource.DLQ: "A dead letter.",
    },
)
described_enum(
    Outcome,
    "AuditOutcome",
    "What became of it.",
    {
        Outcome.OK: "It was done.",
        Outcome.REFUSED: "It was not done: the caller got something wrong, or may not do it.",
        Outcome.FAILED: "It was not done: something of ours broke.",
    },
)

# The word in the id of what a resource's id stands for.
_PREFIXES = {
    Resource.CONTACT: "contact",
    Resource.JOURNEY: "journey",
    Resource.API_KEY: ApiKey.prefix,
    Resource.ALERT_RULE: "rule",
    Resource.EMAIL: "email",
    Resource.EVENT: "event",
    Resource.DLQ: "deadletter",
}


@strawberry.type(description="One mutation of the admin plane, refused and failed ones too.")
class AuditEntry(Node):
    prefix: ClassVar[str] = "audit"
    collection = AUDIT
    columns: ClassVar[Columns] = {"action": Action, "resource": Resource, "outcome": Outcome}

    actor_key_id: strawberry.Private[UUID | None]
    created_at: datetime = strawberry.field(description="When.")
    actor: str = strawberry.field(description="The name of the key that asked; `legacy` for ADMIN_API_KEY.")
    action: Action = strawberry.field(description="What was done.")
    resource: Resource = strawberry.field(description="To what kind of thing.")
    resource_id: str | None = strawberry.field(description="To which; null where it is not one thing.")
    outcome: Outcome = strawberry.field(description="What became of it.")
    detail: JSON | None = strawberry.field(
        description="The operation, what was wrong with it, and how much it touched."
    )
    before: JSON | None = strawberry.field(description="What it was done to, as it was.")
    after: JSON | None = strawberry.field(description="What it was done to, as it then was.")
    ip_address: str | None = strawberry.field(description="Where it was asked from.")
    request_id: str | None = strawberry.field(description="The `X-Request-Id` of the request.")

    uuid = bare_uuid()

    @field("The bare UUID of the key that asked; null for ADMIN_API_KEY.")
    def key_uuid(self) -> UUID | None:
        return self.actor_key_id

    @field("The key that asked; null for ADMIN_API_KEY.", name="key")
    async def api_key(self, info: Info) -> ApiKey | None:
        return await link(info.context, ApiKey.prefix, self.actor_key_id)  # type: ignore[no-any-return]

    @field("What it was done to; null where that is gone, or is not one thing.")
    async def subject(self, info: Info) -> Node | None:
        kind = TYPES.get(_PREFIXES[self.resource])
        return (
            None
            if kind is None or self.resource_id is None
            else await kind.fetch(info.context, self.resource_id)
        )


@strawberry.input(description="Which entries.")
class AuditFilter:
    actor: str | None = strawberry.field(default=None, description="Asked by a key of this name.")
    key_id: strawberry.ID | None = strawberry.field(default=None, description="Asked by this key.")
    action: Action | None = strawberry.field(default=None, description="Of this kind.")
    resource: Resource | None = strawberry.field(default=None, description="Done to this kind of thing.")
    resource_id: str | None = strawberry.field(default=None, description="Done to this one.")
    outcome: Outcome | None = strawberry.field(default=None, description="That ended so.")
    from_: datetime | None = strawberry.field(default=None, name="from", description="Then or later.")
    to: datetime | None = strawberry.field(default=None, description="Then or earlier.")

    def narrow(self, selection: Selection) -> Selection:
        key_id = None if self.key_id is None else ids.uuid_of(self.key_id, ApiKey.prefix)
        if self.key_id is not None and key_id is None:
            raise InvalidInput("keyId", "keyId must be the id of a key")
        return selection.filtered(
            actor=self.actor,
            actor_key_id=key_id,
            action=self.action.value if self.action else None,
            resource=self.resource.value if self.resource else None,
            resource_id=self.resource_id,
            outcome=self.outcome.value if self.outcome else None,
            from_=self.from_,
            to=self.to,
        )


@strawberry.type
class AuditQuery:
    @connection("audit", scope=Scope.READ, description="The audit log, newest first.")
    def audit_log(
        self, filter: Annotated[AuditFilter | None, described("Which entries; all unless told.")] = None
    ) -> Selection:
        return (filter or AuditFilter()).narrow(AUDIT.all())
