"""`metrics`: the field of Query under which every metric is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import strawberry

from hogsend.clock import instant_text
from hogsend.graphql import ids
from hogsend.graphql.context import Info
from hogsend.graphql.fields import COST, described, field, query, wire_type
from hogsend.graphql.mapping import from_object
from hogsend.metrics import queries
from hogsend.metrics.queries import Period, Span
from hogsend.schema.metrics.journeys import JourneyMetrics, JourneyReachMetrics, all_journey_metrics
from hogsend.schema.metrics.types import (
    DeliverabilityPeriod,
    DeliverabilityPoint,
    EventCount,
    EventGranularity,
    MetricsOverview,
    TemplateMetrics,
)

From = Annotated[datetime | None, strawberry.argument(name="from", description="At or after this instant.")]
To = Annotated[datetime | None, described("At or before this instant.")]


def _aggregate(description: str, cost: int = 50) -> Callable[[Callable[..., Any]], Any]:
    """A list that is computed by walking over rows: it costs much, however short it is."""
    return lambda resolver: strawberry.field(
        resolver=resolver, description=description, metadata={COST: cost}
    )


@wire_type(
    "Metrics of contacts, journeys, emails and events. Rates are rounded to 4 places, and 0 where there is "
    "nothing to divide by."
)
class Metrics:
    @field("Overview: the state of things now.")
    async def overview(self, info: Info) -> MetricsOverview:
        async with info.context.connection() as conn:
            found = await queries.overview(conn, info.context.runtime.clock.now())
        return from_object(MetricsOverview, found)

    @_aggregate("Metrics of each journey's runs: journeys in the code first, then those gone from it.")
    async def journeys(self, info: Info) -> list[JourneyMetrics]:
        return await all_journey_metrics(info.context)

    @field("Metrics of one journey's runs and emails; null where there is no such journey.")
    async def journey(
        self,
        info: Info,
        id: Annotated[strawberry.ID, described("Global id, or the key that its author gave it.")],
    ) -> JourneyReachMetrics | None:
        journey_id = ids.name_of(id, "journey")
        async with info.context.connection() as conn:
            reach = await queries.journey(conn, journey_id)
        known = info.context.runtime.registry.get(journey_id) is not None or reach.enrolled
        return from_object(JourneyReachMetrics, reach) if known else None

    @_aggregate("Engagement by template with the emails that were requested in the time range.")
    async def emails(
        self,
        info: Info,
        from_: From = None,
        to: To = None,
        include_untemplated: Annotated[
            bool, described("Whether to include emails without a template, as `(none)`.")
        ] = False,
    ) -> list[TemplateMetrics]:
        async with info.context.connection() as conn:
            found = await queries.emails(conn, Span(from_, to), untemplated=include_untemplated)
        return [from_object(TemplateMetrics, engagement, template_key=key) for key, engagement in found]

    @_aggregate(
        "Deliverability of sent emails by the period in which they were requested, oldest first; empty periods are "
        "left out."
    )
    async def deliverability(
        self,
        info: Info,
        period: Annotated[
            DeliverabilityPeriod, described("Period that one point covers.")
        ] = DeliverabilityPeriod.DAY,
        from_: From = None,
        to: To = None,
    ) -> list[DeliverabilityPoint]:
        async with info.context.connection() as conn:
            found = await queries.deliverability(conn, Period(period.value), Span(from_, to))
        return [
            from_object(DeliverabilityPoint, engagement, date=start.date().isoformat())
            for start, engagement in found
        ]

    @_aggregate("Occurrences of each event by period, oldest first, then by name.")
    async def events(
        self,
        info: Info,
        granularity: Annotated[
            EventGranularity, described("Period that one count covers.")
        ] = EventGranularity.DAY,
        from_: From = None,
        to: To = None,
    ) -> list[EventCount]:
        async with info.context.connection() as conn:
            found = await queries.events(conn, Period(granularity.value), Span(from_, to))
        return [from_object(EventCount, one, date=_date(one.start, granularity)) for one in found]


def _date(start: datetime, granularity: EventGranularity) -> str:
    return instant_text(start) if granularity is EventGranularity.HOUR else start.date().isoformat()


@strawberry.type
class MetricsQuery:
    @query(description="Metrics of contacts, journeys, emails and events.", cost=10)
    def metrics(self) -> Metrics:
        return Metrics()
