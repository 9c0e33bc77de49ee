"""API keys in the schema."""

from __future__ import annotations

from datetime import datetime

import strawberry

from hogsend.access.caller import Scope
from hogsend.graphql.fields import attribute, wire_type
from hogsend.graphql.node import Node, bare_uuid
from hogsend.graphql.rows import Argument, rows
from hogsend.schema.access.collections import KEYS
from hogsend.schema.viewer import KeyScope


@wire_type("An API key. Its secret was shown once, when it was created, and is not stored.")
class ApiKey(Node, collection=KEYS, scope=Scope.FULL_ADMIN):
    name: str = attribute("Name that it was created with.")
    key_prefix: str = attribute("First 8 characters of the secret, to tell keys apart.")
    scopes: list[KeyScope] = attribute("Scopes that it grants.")
    expires_at: datetime | None = attribute("When it expires; null for never.")
    revoked_at: datetime | None = attribute("When it was revoked.")
    last_used_at: datetime | None = attribute("When it was last used, to within two seconds.")
    created_at: datetime = attribute("When it was created.")

    uuid = bare_uuid()


@strawberry.type
class ApiKeyQuery:
    api_keys = rows(
        KEYS,
        scope=Scope.FULL_ADMIN,
        description="API keys, newest first.",
        arguments={
            "include_revoked": Argument(
                bool, "Whether to include revoked keys.", by="revoked_too", default=False
            )
        },
    )
