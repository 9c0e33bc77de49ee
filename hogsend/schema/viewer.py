"""The API key that is calling, in the schema."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import strawberry

from hogsend.access.caller import Scope
from hogsend.graphql.context import Info
from hogsend.graphql.enums import WireEnum, wire_enum
from hogsend.graphql.fields import attribute, query, wire_type
from hogsend.graphql.mapping import from_object


@wire_enum("Scope of an API key: what it may call.")
class KeyScope(WireEnum):
    READ = Scope.READ.value, "Read the whole admin API."
    JOURNEY_ADMIN = Scope.JOURNEY_ADMIN.value, "Also operate journeys and their runs."
    FULL_ADMIN = Scope.FULL_ADMIN.value, "Everything."
    INGEST = Scope.INGEST.value, "The data plane (events, emails) only."


@wire_type("Rate limit of an API key.")
class RateLimit:
    limit: int = attribute("Requests per minute.")
    remaining: int = attribute("Requests left now.")
    reset_at: datetime = attribute("When the oldest counted request no longer counts.")


@wire_type("The API key that is calling.")
class Viewer:
    uuid: UUID | None = attribute("Bare UUID of the key; null for ADMIN_API_KEY.")
    name: str = attribute("Name of the key; `legacy` for ADMIN_API_KEY.")
    scopes: list[KeyScope] = attribute("Scopes that the key grants.")
    rate_limit: RateLimit | None = attribute("Its rate limit; null on a socket.")


@strawberry.type
class ViewerQuery:
    @query(scope=None, description="The API key that is calling.")
    def viewer(self, info: Info) -> Viewer:
        caller, rate = info.context.caller, info.context.rate
        limit = None if rate is None else from_object(RateLimit, rate)
        scopes = [KeyScope(scope.value) for scope in Scope if scope in caller.scopes]
        return Viewer(uuid=caller.key_id, name=caller.name, scopes=scopes, rate_limit=limit)
