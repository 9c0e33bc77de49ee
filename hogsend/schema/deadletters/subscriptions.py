"""Live dead letters."""

from __future__ import annotations

from collections.abc import AsyncIterator

import strawberry

from hogsend.access.caller import Scope
from hogsend.graphql.context import Info
from hogsend.graphql.fields import subscription, wire_type
from hogsend.graphql.live import After, entries
from hogsend.graphql.messages import Message
from hogsend.graphql.rows import to_one
from hogsend.realtime.streams import ActivityFilter
from hogsend.tables.realtime import ActivityKind


@wire_type("A dead letter that was added, or came back since a retry failed, live.")
class DeadLetterActivity(Message):
    dead_letter = to_one("deadletter", "ref_id", "The dead letter, as it is now.")


@strawberry.type
class DeadLetterSubscription:
    @subscription(
        scope=Scope.READ,
        description="Live dead letters: those added behind `after`, then each new one. "
        "One whose retry failed comes again.",
    )
    async def dead_letter_added(self, info: Info, after: After = None) -> AsyncIterator[DeadLetterActivity]:
        wanted = ActivityFilter(kinds=(ActivityKind.DEAD_LETTER,))
        async for entry in entries(info.context, wanted, after):
            yield DeadLetterActivity.of(entry)
