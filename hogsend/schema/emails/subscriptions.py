"""What becomes of emails, live."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import strawberry

from hogsend.access.caller import Scope
from hogsend.graphql import ids
from hogsend.graphql.context import Info
from hogsend.graphql.fields import described, subscription
from hogsend.graphql.live import entries
from hogsend.graphql.node import by_key
from hogsend.realtime.streams import StreamFilter
from hogsend.schema.contacts.timeline import EmailActivity, TimelineEntry
from hogsend.schema.emails.enums import EmailFact
from hogsend.schema.emails.types import Email
from hogsend.tables.realtime import ActivityKind


@strawberry.input(description="Which news of which emails.")
class EmailActivityFilter:
    types: list[EmailFact] | None = strawberry.field(default=None, description="Only these.")
    journey_id: strawberry.ID | None = strawberry.field(
        default=None, description="Of emails that this journey sent."
    )
    template_key: str | None = strawberry.field(default=None, description="Of emails of this template.")

    def takes(self, type: str) -> bool:
        return self.types is None or EmailFact(type) in self.types

    def fits(self, email: Email) -> bool:
        wanted = None if self.journey_id is None else ids.name_of(self.journey_id, "journey")
        return wanted in (None, email.journey_id) and self.template_key in (None, email.template_key)


@strawberry.type
class EmailSubscription:
    @subscription(
        scope=Scope.READ,
        description="What becomes of emails: sent, delivered, opened, clicked … behind `after`, then as it comes.",
    )
    async def email_activity(
        self,
        info: Info,
        filter: Annotated[EmailActivityFilter | None, described("Which; all unless told.")] = None,
        after: Annotated[str | None, described("An earlier `cursor`; from now on unless told.")] = None,
    ) -> AsyncIterator[EmailActivity]:
        wanted = filter or EmailActivityFilter()
        async for entry in entries(info.context, StreamFilter(kinds=(ActivityKind.EMAIL,)), after):
            if not wanted.takes(entry.type):
                continue
            email = await by_key(info.context, Email, entry.ref_id)
            if email is not None and wanted.fits(email):
                found = TimelineEntry.live(entry)
                assert isinstance(found, EmailActivity)
                yield found
