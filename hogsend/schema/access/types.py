"""Keys on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

import strawberry

from hogsend.access.caller import Scope
from hogsend.graphql.connections import connection
from hogsend.graphql.fields import described
from hogsend.graphql.node import Columns, Node, bare_uuid
from hogsend.schema.access.collections import KEYS
from hogsend.schema.viewer import KeyScope
from hogsend.storage.collections import Selection


@strawberry.type(description="A key that opens the API. Its secret was shown once and is not kept.")
class ApiKey(Node):
    prefix: ClassVar[str] = "apikey"
    collection = KEYS
    columns: ClassVar[Columns] = {"scopes": lambda scopes: [KeyScope(scope) for scope in scopes]}
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

    uuid = bare_uuid()


@strawberry.type
class ApiKeyQuery:
    @connection("apikey", scope=Scope.FULL_ADMIN, description="Keys, newest first.")
    def api_keys(
        self, include_revoked: Annotated[bool, described("Whether revoked ones are listed too.")] = False
    ) -> Selection:
        return KEYS.all().filtered(revoked_too=include_revoked)
