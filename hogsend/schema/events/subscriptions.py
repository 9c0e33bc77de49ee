"""Events, live."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import strawberry

from hogsend.access.caller import Scope
from hogsend.graphql.context import Info
from hogsend.graphql.fields import described, subscription
from hogsend.graphql.live import entries
from hogsend.graphql.node import by_key
from hogsend.realtime.streams import StreamFilter
from hogsend.schema.contacts.timeline import EventReceived, TimelineEntry
from hogsend.schema.events.types import Event
from hogsend.tables.realtime import ActivityKind


@strawberry.input(description="Which events.")
class EventReceivedFilter:
    name: str | None = strawberry.field(default=None, description="Of this name.")
    user_id: str | None = strawberry.field(
        default=None, description="Of the contact with this externalId or UUID."
    )


@strawberry.type
class EventSubscription:
    @subscription(
        scope=Scope.READ,
        description="Events as they are taken in: those behind `after`, then each new one.",
    )
    async def event_received(
        self,
        info: Info,
        filter: Annotated[EventReceivedFilter | None, described("Which; all unless told.")] = None,
        after: Annotated[str | None, described("An earlier `cursor`; from now on unless told.")] = None,
    ) -> AsyncIterator[EventReceived]:
        wanted = filter or EventReceivedFilter()
        async for entry in entries(info.context, StreamFilter(kinds=(ActivityKind.EVENT,)), after):
            event = await by_key(info.context, Event, entry.ref_id)
            if event is None or wanted.name not in (None, event.name):
                continue
            if wanted.user_id is not None and wanted.user_id not in (
                await event.known_as(info.context),
                str(event.contact_id),
            ):
                continue
            found = TimelineEntry.live(entry)
            assert isinstance(found, EventReceived)
            yield found
