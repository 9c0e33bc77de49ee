"""Mutations of keys: make one, revoke one."""

from __future__ import annotations

from datetime import datetime

import strawberry

from hogsend.access.actions import create_key, revoke_key
from hogsend.access.audit import Action, Resource
from hogsend.access.caller import Scope
from hogsend.graphql import ids
from hogsend.graphql.context import Info
from hogsend.graphql.fields import attribute, optional
from hogsend.graphql.mutations import mutation, named_by_id, part, payload
from hogsend.schema.access.types import ApiKey
from hogsend.schema.viewer import KeyScope


@strawberry.input(description="A key to make.")
class ApiKeyCreateInput:
    name: str = attribute("What to call it; the audit log names it as the actor.")
    scopes: list[KeyScope] = attribute("What it opens; at least one.")
    expires_at: datetime | None = optional("When it stops working, in the future; never unless told.")


@payload("What `apiKeyCreate` made.", errors="INVALID EXPIRY_IN_PAST")
class ApiKeyCreatePayload:
    api_key: ApiKey | None = part("The key, without its secret.")
    secret: str | None = part("`hsk_…`, what to send as `Authorization: Bearer …`. It is not shown again.")


@strawberry.input(description="A key to revoke.")
class ApiKeyRevokeInput:
    id: strawberry.ID = attribute("Its id, or its bare UUID.")


@payload("What `apiKeyRevoke` did.", errors="NOT_FOUND")
class ApiKeyRevokePayload:
    api_key: ApiKey | None = part("The key, revoked.")


@strawberry.type
class ApiKeyMutation:
    @mutation(
        ApiKeyCreatePayload,
        scope=Scope.FULL_ADMIN,
        audits=(Action.CREATE, Resource.API_KEY, None),
        description="Make a key. The answer is the only place that ever shows its secret.",
    )
    async def api_key_create(self, info: Info, input: ApiKeyCreateInput) -> ApiKeyCreatePayload:
        runtime = info.context.runtime
        scopes = {Scope(scope.value) for scope in input.scopes}
        async with runtime.database.transaction() as conn:
            made = await create_key(
                conn, runtime.clock, name=input.name, scopes=scopes, expires_at=input.expires_at
            )
        return ApiKeyCreatePayload(api_key=ApiKey.of(made.row), secret=made.key)

    @mutation(
        ApiKeyRevokePayload,
        scope=Scope.FULL_ADMIN,
        audits=(Action.REVOKE, Resource.API_KEY, named_by_id(ApiKey.prefix)),
        description="Revoke a key: it is refused everywhere at once, and its open streams end.",
    )
    async def api_key_revoke(self, info: Info, input: ApiKeyRevokeInput) -> ApiKeyRevokePayload:
        key_id = ids.key_of(input.id, ApiKey.prefix, "API key")
        return ApiKeyRevokePayload(api_key=ApiKey.of(await revoke_key(info.context.runtime, key_id)))
