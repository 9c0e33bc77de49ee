"""Verdicts, live."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

import strawberry

from hogsend.access.caller import Scope
from hogsend.graphql import ids
from hogsend.graphql.context import Info
from hogsend.graphql.fields import described, field, subscription
from hogsend.graphql.live import entries
from hogsend.graphql.node import link
from hogsend.realtime.streams import StreamFilter
from hogsend.schema.decisions.types import Decision
from hogsend.tables.realtime import ActivityKind


@strawberry.type(description="A verdict about somebody in a journey.")
class JourneyActivity:
    ref_id: strawberry.Private[UUID]
    cursor: str = strawberry.field(description="Where the stream goes on behind it.")

    @field("The verdict.")
    async def decision(self, info: Info) -> Decision | None:
        return await link(info.context, "decision", self.ref_id)  # type: ignore[no-any-return]


@strawberry.type
class DecisionSubscription:
    @subscription(
        scope=Scope.READ,
        description="What is decided in a journey, or in all of them: the verdicts behind `after`, then each new one.",
    )
    async def journey_activity(
        self,
        info: Info,
        journey_id: Annotated[strawberry.ID | None, described("In this journey.")] = None,
        after: Annotated[str | None, described("An earlier `cursor`; from now on unless told.")] = None,
    ) -> AsyncIterator[JourneyActivity]:
        name = None if journey_id is None else ids.name_of(journey_id, "journey")
        async for entry in entries(
            info.context, StreamFilter(kinds=(ActivityKind.DECISION,), journey_id=name), after
        ):
            # Verdicts outside any journey, such as an unsubscription, are in the contact's timeline.
            if entry.journey_id is not None:
                yield JourneyActivity(ref_id=entry.ref_id, cursor=entry.cursor.encode())
