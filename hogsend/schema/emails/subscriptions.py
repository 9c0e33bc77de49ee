"""Live delivery events of emails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import strawberry

from hogsend.access.caller import Scope
from hogsend.graphql import ids
from hogsend.graphql.context import Info
from hogsend.graphql.fields import described, optional, subscription
from hogsend.graphql.live import After, entries
from hogsend.graphql.node import by_key
from hogsend.realtime.streams import ActivityFilter
from hogsend.schema.contacts.timeline import EmailActivity, TimelineEntry
from hogsend.schema.emails.enums import EmailFact
from hogsend.schema.emails.types import Email
from hogsend.tables.realtime import ActivityKind


@strawberry.input(description="Filter of live email activity: all given fields must match.")
class EmailActivityFilter:
    types: list[EmailFact] | None = optional("Only activity of these types.")
    journey_id: strawberry.ID | None = optional("Only emails that this journey sent.")
    template_key: str | None = optional("Only emails of this template.")

    def takes(self, type: str) -> bool:
        return self.types is None or EmailFact(type) in self.types

    def fits(self, email: Email) -> bool:
        wanted = None if self.journey_id is None else ids.name_of(self.journey_id, "journey")
        return wanted in (None, email.journey_id) and self.template_key in (None, email.template_key)


@strawberry.type
class EmailSubscription:
    @subscription(
        scope=Scope.READ,
        description="Live email activity (sent, delivered, opened …): what is behind `after`, then each new one.",
    )
    async def email_activity(
        self,
        info: Info,
        filter: Annotated[EmailActivityFilter | None, described("Only activity that matches it.")] = None,
        after: After = None,
    ) -> AsyncIterator[EmailActivity]:
        wanted = filter or EmailActivityFilter()
        async for entry in entries(info.context, ActivityFilter(kinds=(ActivityKind.EMAIL,)), after):
            if not wanted.takes(entry.type):
                continue
            email = await by_key(info.context, Email, entry.ref_id)
            if email is not None and wanted.fits(email):
                found = TimelineEntry.live(entry)
                assert isinstance(found, EmailActivity)
                yield found
