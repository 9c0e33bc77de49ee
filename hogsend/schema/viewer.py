"""The key that is calling."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from uuid import UUID

import strawberry

from hogsend.access.caller import Scope
from hogsend.graphql.context import Info
from hogsend.graphql.enums import described_enum
from hogsend.graphql.fields import query


class KeyScope(Enum):
    READ = Scope.READ.value
    JOURNEY_ADMIN = Scope.JOURNEY_ADMIN.value
    FULL_ADMIN = Scope.FULL_ADMIN.value
    INGEST = Scope.INGEST.value


described_enum(
    KeyScope,
    "KeyScope",
    "What a key opens.",
    {
        KeyScope.READ: "Reads the whole admin plane.",
        KeyScope.JOURNEY_ADMIN: "Also steers journeys.",
        KeyScope.FULL_ADMIN: "Everything.",
        KeyScope.INGEST: "The data plane, and nothing else.",
    },
)


@strawberry.type(description="How often a key may still call.")
class RateLimit:
    limit: int = strawberry.field(description="Requests a minute.")
    remaining: int = strawberry.field(description="How many are left now.")
    reset_at: datetime = strawberry.field(description="When the oldest request no longer counts.")


@strawberry.type(description="The key that is calling.")
class Viewer:
    uuid: UUID | None = strawberry.field(description="The key's bare UUID; null for ADMIN_API_KEY.")
    name: str = strawberry.field(
        description="What it was called when it was made; `legacy` for ADMIN_API_KEY."
    )
    scopes: list[KeyScope] = strawberry.field(description="What it opens.")
    rate_limit: RateLimit | None = strawberry.field(
        description="How often it may still call; null on a socket."
    )


@strawberry.type
class ViewerQuery:
    @query(scope=None, description="The key that is calling.")
    def viewer(self, info: Info) -> Viewer:
        caller, rate = info.context.caller, info.context.rate
        limit = None
        if rate is not None:
            limit = RateLimit(limit=rate.limit, remaining=rate.remaining, reset_at=rate.reset_at)
        scopes = [KeyScope(scope.value) for scope in Scope if scope in caller.scopes]
        return Viewer(uuid=caller.key_id, name=caller.name, scopes=scopes, rate_limit=limit)
