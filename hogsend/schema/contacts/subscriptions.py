"""Live timelines of contacts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import strawberry

from hogsend.access.caller import Scope
from hogsend.errors import NotFound
from hogsend.graphql.context import Info
from hogsend.graphql.fields import described, subscription
from hogsend.graphql.live import After, entries
from hogsend.realtime.streams import ActivityFilter
from hogsend.schema.contacts.timeline import TimelineEntry, TimelineKind
from hogsend.schema.contacts.types import ContactBy, find_contact
from hogsend.tables.realtime import TIMELINE_KINDS


@strawberry.type
class ContactSubscription:
    @subscription(
        scope=Scope.READ,
        description="Live timeline of one contact: the entries behind `after`, oldest first, then each new one. "
        "Reconnect with the last entry's `cursor`: nothing is missed and nothing comes twice.",
    )
    async def contact_timeline(
        self,
        info: Info,
        by: Annotated[ContactBy, described("The contact.")],
        after: After = None,
        types: Annotated[list[TimelineKind] | None, described("Only entries of these kinds.")] = None,
    ) -> AsyncIterator[TimelineEntry]:
        contact = await find_contact(info.context, by)
        if contact is None:
            raise NotFound("Contact")
        kinds = TIMELINE_KINDS if types is None else tuple(kind.value for kind in types)
        wanted = ActivityFilter(kinds=kinds, contact_id=contact["id"])
        async for entry in entries(info.context, wanted, after):
            yield TimelineEntry.live(entry)
