"""Live decisions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import strawberry
from sqlalchemy import select

from hogsend.access.caller import Scope
from hogsend.errors import NotFound
from hogsend.graphql import ids
from hogsend.graphql.context import Context, Info
from hogsend.graphql.fields import described, subscription, wire_type
from hogsend.graphql.live import After, entries
from hogsend.graphql.messages import Message
from hogsend.graphql.rows import to_one
from hogsend.realtime.streams import ActivityFilter
from hogsend.tables.decisions import decisions
from hogsend.tables.realtime import ActivityKind


@wire_type("A decision about a contact in a journey, live.")
class JourneyActivity(Message):
    decision = to_one("decision", "ref_id", "The decision.")


async def _is_known(context: Context, journey_id: str) -> bool:
    """Whether the code has this journey, or had it when something was decided about it."""
    if context.runtime.registry.get(journey_id) is not None:
        return True
    return bool(
        await context.rows(select(decisions.c.id).where(decisions.c.journey_id == journey_id).limit(1))
    )


@strawberry.type
class DecisionSubscription:
    @subscription(
        scope=Scope.READ,
        description="Live decisions of one journey, or of all: those behind `after`, then each new one. A journey that "
        "is neither in the code nor in any decision is NOT_FOUND.",
    )
    async def journey_activity(
        self,
        info: Info,
        journey_id: Annotated[strawberry.ID | None, described("Only decisions about this journey.")] = None,
        after: After = None,
    ) -> AsyncIterator[JourneyActivity]:
        name = None if journey_id is None else ids.name_of(journey_id, "journey")
        if name is not None and not await _is_known(info.context, name):
            raise NotFound("Journey")
        wanted = ActivityFilter(kinds=(ActivityKind.DECISION,), journey_id=name)
        async for entry in entries(info.context, wanted, after):
            # Decisions outside any journey, such as an unsubscription, are in the contact's timeline.
            if entry.journey_id is not None:
                yield JourneyActivity.of(entry)
