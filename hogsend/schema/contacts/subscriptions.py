"""Live timelines of contacts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import strawberry

from hogsend.access.caller import Scope
from hogsend.decisions.reasons import DecisionKind
from hogsend.errors import NotFound
from hogsend.graphql import ids
from hogsend.graphql.context import Info
from hogsend.graphql.errors import Code, problem
from hogsend.graphql.fields import described, subscription
from hogsend.graphql.live import After, entries
from hogsend.realtime.streams import ActivityFilter
from hogsend.schema.contacts.timeline import TimelineEntry, TimelineKind
from hogsend.schema.contacts.types import Contact, ContactBy, find_contact
from hogsend.tables.realtime import TIMELINE_KINDS, ActivityKind

MERGE = (ActivityKind.DECISION, DecisionKind.MERGED)


@strawberry.type
class ContactSubscription:
    @subscription(
        scope=Scope.READ,
        description="Live timeline of one contact: the entries behind `after`, oldest first, then each new one. "
        "Reconnect with the last entry's `cursor`: nothing is missed and nothing comes twice. The decision of a merge "
        "has in `brought` what came from the other contact. When the contact is itself merged into another, the stream "
        "ends with NOT_FOUND and the other's id in `mergedInto`.",
    )
    async def contact_timeline(
        self,
        info: Info,
        by: Annotated[ContactBy, described("The contact.")],
        after: After = None,
        types: Annotated[
            list[TimelineKind] | None,
            described(
                "Only entries of these kinds, and the decisions of merges, which bring some of any kind."
            ),
        ] = None,
    ) -> AsyncIterator[TimelineEntry]:
        contact = await find_contact(info.context, by)
        if contact is None:
            raise NotFound("Contact")
        kinds = TIMELINE_KINDS if types is None else tuple(kind.value for kind in types)
        read = {*kinds, ActivityKind.DECISION, ActivityKind.CONTACT}
        wanted = ActivityFilter(kinds=read, contact_id=contact["id"])
        async for entry in entries(info.context, wanted, after):
            if entry.kind == ActivityKind.CONTACT:
                raise problem(
                    "Contact was merged into another: read the timeline of that one, and follow it",
                    Code.NOT_FOUND,
                    mergedInto=ids.encode(Contact.prefix, entry.ref_id),
                )
            # What a merge brought was told as another contact's, and is told again with the merge.
            if entry.merged_by is None and (entry.kind in kinds or (entry.kind, entry.type) == MERGE):
                yield TimelineEntry.live(entry)
