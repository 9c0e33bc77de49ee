"""Live metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import strawberry

from hogsend.access.caller import Scope
from hogsend.errors import InvalidInput
from hogsend.graphql.context import Info
from hogsend.graphql.errors import Code, problem
from hogsend.graphql.fields import attribute, described, subscription, wire_type
from hogsend.graphql.mapping import from_object
from hogsend.metrics.feed import Message, MetricsFeed, Topic
from hogsend.metrics.periods import Period
from hogsend.schema.metrics.journeys import JourneyMetrics, journeys
from hogsend.schema.metrics.types import EventCount, MetricsOverview, TemplateMetrics, event_counts, templates


@wire_type("The current metrics of the topics that are followed. Each message has all of them.")
class MetricsChange:
    changed: list[Topic] = attribute(
        "The topics that differ from the message before; all of them in the first."
    )
    overview: MetricsOverview | None = attribute("The overview; null unless its topic is followed.")
    journeys: list[JourneyMetrics] | None = attribute(
        "Each journey's runs; null unless its topic is followed."
    )
    emails: list[TemplateMetrics] | None = attribute(
        "Engagement by template, ever; null unless its topic is followed."
    )
    events: list[EventCount] | None = attribute(
        "Occurrences of each event from the current day in UTC on; null unless its topic is followed."
    )

    @classmethod
    def of(cls, message: Message) -> MetricsChange:
        said = message.figures
        return cls(
            changed=[topic for topic in Topic if topic in message.changed],
            overview=from_object(MetricsOverview, said[Topic.OVERVIEW]) if Topic.OVERVIEW in said else None,
            journeys=journeys(said[Topic.JOURNEYS]) if Topic.JOURNEYS in said else None,
            emails=templates(said[Topic.EMAILS]) if Topic.EMAILS in said else None,
            events=event_counts(said[Topic.EVENTS], Period.DAY) if Topic.EVENTS in said else None,
        )


@strawberry.type
class MetricsSubscription:
    @subscription(
        scope=Scope.READ,
        tells="state",
        description="Live metrics: the current ones, then each change, at most one message a second. There is no "
        "cursor: a client that comes back hears the current ones first.",
    )
    async def metrics_changed(
        self,
        info: Info,
        topics: Annotated[list[Topic] | None, described("What to follow; everything by default.")] = None,
    ) -> AsyncIterator[MetricsChange]:
        context = info.context
        if topics is not None and not topics:
            raise InvalidInput("topics", f"topics must name at least one of {', '.join(Topic.__members__)}")
        messages = context.runtime.part(MetricsFeed).follow(topics or list(Topic))
        try:
            async for message in messages:
                context.begun.set()
                context.forget()
                yield MetricsChange.of(message)
        finally:
            await messages.aclose()  # type: ignore[attr-defined]
        raise problem("The server is going away; follow again", Code.GOING_AWAY)
