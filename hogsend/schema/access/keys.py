"""Keys on the wire."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated, ClassVar
from uuid import UUID

import strawberry
from sqlalchemy import RowMapping

from hogsend.access.actions import create_key, revoke_key
from hogsend.access.audit import Action, Resource
from hogsend.access.caller import Scope
from hogsend.errors import NotFound
from hogsend.graphql import ids
from hogsend.graphql.connections import connection
from hogsend.graphql.context import Info
from hogsend.graphql.enums import described_enum
from hogsend.graphql.fields import described, field
from hogsend.graphql.mutations import UserError, mutation
from hogsend.graphql.node import Node
from hogsend.schema.access.collections import KEYS
from hogsend.schema.viewer import KeyScope
from hogsend.storage.collections import Selection


@strawberry.type(description="A key that opens the API. Its secret was shown once and is not kept.")
class ApiKey(Node):
    prefix: ClassVar[str] = "apikey"
    collection = KEYS
    scope: ClassVar[Scope] = Scope.FULL_ADMIN

    name: str = strawberry.field(description="What it was called when it was made.")
    key_prefix: str = strawberry.field(description="Its first 8 characters, to tell keys apart.")
    scopes: list[KeyScope] = strawberry.field(description="What it opens.")
    expires_at: datetime | None = strawberry.field(description="When it stops working; null for never.")
    revoked_at: datetime | None = strawberry.field(description="When it was revoked.")
    last_used_at: datetime | None = strawberry.field(
        description="When it was last let in, to within two seconds."
    )
    created_at: datetime = strawberry.field(description="When it was made.")

    @classmethod
    def of(cls, row: RowMapping) -> ApiKey:
        return cls(
            key=row["id"],
            name=row["name"],
            key_prefix=row["key_prefix"],
            scopes=[KeyScope(scope) for scope in row["scopes"]],
            expires_at=row["expires_at"],
            revoked_at=row["revoked_at"],
            last_used_at=row["last_used_at"],
            created_at=row["created_at"],
        )

    @field("The bare UUID.")
    def uuid(self) -> UUID:
        assert isinstance(self.key, UUID)
        return self.key


@strawberry.type
class ApiKeyQuery:
    @connection("apikey", scope=Scope.FULL_ADMIN, description="Keys, newest first.")
    def api_keys(
        self, include_revoked: Annotated[bool, described("Whether revoked ones are listed too.")] = False
    ) -> Selection:
        return KEYS.all().filtered(revoked_too=include_revoked)


class ApiKeyCreateErrorCode(Enum):
    INVALID = "invalid"
    EXPIRY_IN_PAST = "expiry_in_past"


described_enum(
    ApiKeyCreateErrorCode,
    "ApiKeyCreateErrorCode",
    "What can be wrong with a key that is to be made.",
    {
        ApiKeyCreateErrorCode.INVALID: "A field has a value that it does not take.",
        ApiKeyCreateErrorCode.EXPIRY_IN_PAST: "It would have expired already.",
    },
)


@strawberry.input(description="A key to make.")
class ApiKeyCreateInput:
    name: str = strawberry.field(description="What to call it; the audit log names it as the actor.")
    scopes: list[KeyScope] = strawberry.field(description="What it opens; at least one.")
    expires_at: datetime | None = strawberry.field(
        default=None, description="When it stops working, in the future; never unless told."
    )


@strawberry.type(description="What `apiKeyCreate` made.")
class ApiKeyCreatePayload:
    api_key: ApiKey | None = strawberry.field(default=None, description="The key, without its secret.")
    secret: str | None = strawberry.field(
        default=None, description="`hsk_…`, what to send as `Authorization: Bearer …`. It is not shown again."
    )
    user_errors: list[UserError[ApiKeyCreateErrorCode]] = strawberry.field(
        default_factory=list, description="What is wrong with the input; empty where all is well."
    )


class ApiKeyRevokeErrorCode(Enum):
    NOT_FOUND = "not_found"


described_enum(
    ApiKeyRevokeErrorCode,
    "ApiKeyRevokeErrorCode",
    "What can be wrong with a revocation.",
    {ApiKeyRevokeErrorCode.NOT_FOUND: "There is no key with this id."},
)


@strawberry.input(description="A key to revoke.")
class ApiKeyRevokeInput:
    id: strawberry.ID = strawberry.field(description="Its id, or its bare UUID.")


@strawberry.type(description="What `apiKeyRevoke` did.")
class ApiKeyRevokePayload:
    api_key: ApiKey | None = strawberry.field(default=None, description="The key, revoked.")
    user_errors: list[UserError[ApiKeyRevokeErrorCode]] = strawberry.field(
        default_factory=list, description="What is wrong with the input; empty where all is well."
    )


def _named(input: ApiKeyRevokeInput) -> str:
    return input.id.removeprefix(f"{ApiKey.prefix}_")


@strawberry.type
class ApiKeyMutation:
    @mutation(
        scope=Scope.FULL_ADMIN,
        payload=ApiKeyCreatePayload,
        codes=ApiKeyCreateErrorCode,
        audit_action=(Action.CREATE, Resource.API_KEY),
        description="Make a key. The answer is the only place that ever shows its secret.",
    )
    async def api_key_create(
        self, info: Info, input: Annotated[ApiKeyCreateInput, described("The key.")]
    ) -> ApiKeyCreatePayload:
        runtime = info.context.runtime
        scopes = {Scope(scope.value) for scope in input.scopes}
        async with runtime.database.transaction() as conn:
            made = await create_key(
                conn, runtime.clock, name=input.name, scopes=scopes, expires_at=input.expires_at
            )
        return ApiKeyCreatePayload(api_key=ApiKey.of(made.row), secret=made.key)

    @mutation(
        scope=Scope.FULL_ADMIN,
        payload=ApiKeyRevokePayload,
        codes=ApiKeyRevokeErrorCode,
        audit_action=(Action.REVOKE, Resource.API_KEY),
        names=_named,
        description="Revoke a key: it is refused everywhere at once, and its open streams end.",
    )
    async def api_key_revoke(
        self, info: Info, input: Annotated[ApiKeyRevokeInput, described("Which key.")]
    ) -> ApiKeyRevokePayload:
        key_id = ids.uuid_of(input.id, ApiKey.prefix)
        if key_id is None:
            raise NotFound("API key")
        return ApiKeyRevokePayload(api_key=ApiKey.of(await revoke_key(info.context.runtime, key_id)))
