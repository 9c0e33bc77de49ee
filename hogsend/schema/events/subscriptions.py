"""Live events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import strawberry

from hogsend.access.caller import Scope
from hogsend.graphql.context import Info
from hogsend.graphql.fields import described, optional, subscription
from hogsend.graphql.live import After, entries
from hogsend.graphql.node import by_key
from hogsend.realtime.streams import ActivityFilter
from hogsend.schema.contacts.timeline import EventReceived, TimelineEntry
from hogsend.schema.contacts.types import user_id
from hogsend.schema.events.types import Event
from hogsend.tables.realtime import ActivityKind


@strawberry.input(description="Filter of live events: all given fields must match.")
class EventReceivedFilter:
    name: str | None = optional("Only events with this name.")
    user_id: str | None = optional("Only events of the contact with this externalId or UUID.")


@strawberry.type
class EventSubscription:
    @subscription(
        scope=Scope.READ,
        description="Live events as they are ingested: those behind `after`, then each new one.",
    )
    async def event_received(
        self,
        info: Info,
        filter: Annotated[EventReceivedFilter | None, described("Only events that match it.")] = None,
        after: After = None,
    ) -> AsyncIterator[EventReceived]:
        wanted = filter or EventReceivedFilter()
        async for entry in entries(info.context, ActivityFilter(kinds=(ActivityKind.EVENT,)), after):
            event = await by_key(info.context, Event, entry.ref_id)
            if event is None or wanted.name not in (None, event.name):
                continue
            if wanted.user_id is not None and wanted.user_id not in (
                await user_id(info.context, event.contact_id),
                str(event.contact_id),
            ):
                continue
            found = TimelineEntry.live(entry)
            assert isinstance(found, EventReceived)
            yield found
