"""Where the streams are now, for clients that read lists first and follow them after."""

from __future__ import annotations

import strawberry

from hogsend.access.caller import Scope
from hogsend.graphql.context import Info
from hogsend.graphql.fields import query
from hogsend.realtime.live import Live


@strawberry.type
class StreamPositionQuery:
    @query(
        scope=Scope.READ,
        description="Cursor of every stream as it is now. Ask for it in a request before the one that reads a list, "
        "and give it as `after`: whatever the list does not show is told, and some of what it shows may be.",
    )
    async def stream_position(self, info: Info) -> str:
        return (await info.context.runtime.part(Live).hub.begin(None)).encode()
