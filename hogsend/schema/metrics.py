"""Numbers on the wire."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Annotated, Any

import strawberry

from hogsend.graphql import ids
from hogsend.graphql.context import Context, Info
from hogsend.graphql.enums import described_enum
from hogsend.graphql.fields import COST, described, field, query
from hogsend.graphql.node import TYPES
from hogsend.graphql.scalars import instant_text
from hogsend.metrics import queries
from hogsend.metrics.queries import Engagement, JourneyReach, JourneyRuns, Period, Span
from hogsend.schema.refs import JourneyRef

From = Annotated[datetime | None, strawberry.argument(name="from", description="Then or later.")]
To = Annotated[datetime | None, described("Then or earlier.")]


class DeliverabilityPeriod(Enum):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class EventGranularity(Enum):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"


described_enum(
    DeliverabilityPeriod,
    "DeliverabilityPeriod",
    "How long one point is.",
    {
        DeliverabilityPeriod.DAY: "A day of UTC.",
        DeliverabilityPeriod.WEEK: "A week of UTC, from Monday.",
        DeliverabilityPeriod.MONTH: "A month of UTC.",
    },
)
described_enum(
    EventGranularity,
    "EventGranularity",
    "How long one count is.",
    {
        EventGranularity.HOUR: "An hour.",
        EventGranularity.DAY: "A day of UTC.",
        EventGranularity.WEEK: "A week of UTC, from Monday.",
    },
)


@strawberry.type(description="How things stand.")
class MetricsOverview:
    total_contacts: int = strawberry.field(description="Contacts that are not deleted.")
    active_journeys: int = strawberry.field(description="Journeys that somebody is in.")
    emails_sent_24h: int = strawberry.field(
        name="emailsSent24h", description="Emails sent in the last 24 hours."
    )
    emails_sent_7d: int = strawberry.field(name="emailsSent7d", description="Emails sent in the last 7 days.")
    emails_sent_30d: int = strawberry.field(
        name="emailsSent30d", description="Emails sent in the last 30 days."
    )
    bounce_rate_30d: float = strawberry.field(
        name="bounceRate30d",
        description="Of the emails sent in the last 30 days, those that bounced: 0 to 1.",
    )
    unsubscribe_rate: float = strawberry.field(
        description="Of the contacts, those that unsubscribed from everything: 0 to 1."
    )


@strawberry.type(description="All runs of a journey, ever.")
class JourneyMetrics:
    journey_id: str = strawberry.field(description="The id that the journey's author gave it.")
    name: str = strawberry.field(description="What people call it; its id where it is gone from the code.")
    enrolled: int = strawberry.field(description="Runs that began.")
    completed: int = strawberry.field(description="Runs that came to their end.")
    failed: int = strawberry.field(description="Runs that broke or are stuck.")
    exited: int = strawberry.field(description="Runs that were ended early.")
    active: int = strawberry.field(description="Runs that are under way, waiting ones too.")
    completion_rate: float = strawberry.field(description="Completed of enrolled: 0 to 1.")
    avg_duration_secs: float | None = strawberry.field(
        description="Seconds from entry to completion, on average; null where none completed."
    )

    @classmethod
    def of(cls, runs: JourneyRuns) -> JourneyMetrics:
        return cls(
            journey_id=runs.journey_id,
            name=runs.name,
            enrolled=runs.enrolled,
            completed=runs.completed,
            failed=runs.failed,
            exited=runs.exited,
            active=runs.active,
            completion_rate=runs.completion_rate,
            avg_duration_secs=runs.average_seconds,
        )

    @field("The journey; null where it is gone from the code.")
    async def journey(self, info: Info) -> JourneyRef | None:
        return await TYPES["journey"].fetch(info.context, self.journey_id)  # type: ignore[return-value]


@strawberry.type(description="A journey's runs, and what became of its emails.")
class JourneyReachMetrics:
    enrolled: int = strawberry.field(description="Runs that began.")
    email_sent: int = strawberry.field(description="Its emails that were sent.")
    email_opened: int = strawberry.field(description="Its emails that were ever opened.")
    email_clicked: int = strawberry.field(description="Its emails that were ever clicked in.")
    completed: int = strawberry.field(description="Runs that came to their end.")
    failed: int = strawberry.field(description="Runs that broke or are stuck.")
    exited: int = strawberry.field(description="Runs that were ended early.")

    @classmethod
    def of(cls, reach: JourneyReach) -> JourneyReachMetrics:
        return cls(
            enrolled=reach.enrolled,
            email_sent=reach.email_sent,
            email_opened=reach.email_opened,
            email_clicked=reach.email_clicked,
            completed=reach.completed,
            failed=reach.failed,
            exited=reach.exited,
        )


@strawberry.type(description="What ever happened to the emails of one template.")
class TemplateMetrics:
    template_key: str = strawberry.field(
        description="The template; `(none)` for sends that were made without one."
    )
    sent: int = strawberry.field(description="Emails that were sent.")
    delivered: int = strawberry.field(description="Of these, ever delivered.")
    opened: int = strawberry.field(description="Of these, ever opened.")
    clicked: int = strawberry.field(description="Of these, ever clicked in.")
    bounced: int = strawberry.field(description="Of these, ever bounced.")
    delivery_rate: float = strawberry.field(description="Delivered of sent.")
    open_rate: float = strawberry.field(
        description="Opened of delivered; of sent where nothing is delivered yet."
    )
    click_rate: float = strawberry.field(description="Clicked of opened.")
    click_to_delivery_rate: float = strawberry.field(description="Clicked of delivered.")

    @classmethod
    def of(cls, template_key: str, engagement: Engagement) -> TemplateMetrics:
        return cls(
            template_key=template_key,
            sent=engagement.sent,
            delivered=engagement.delivered,
            opened=engagement.opened,
            clicked=engagement.clicked,
            bounced=engagement.bounced,
            delivery_rate=engagement.delivery_rate,
            open_rate=engagement.open_rate,
            click_rate=engagement.click_rate,
            click_to_delivery_rate=engagement.click_to_delivery_rate,
        )


@strawberry.type(description="What became of the emails of one period.")
class DeliverabilityPoint:
    date: str = strawberry.field(description="The period's first day in UTC, `YYYY-MM-DD`.")
    total: int = strawberry.field(description="Emails of that period that were sent.")
    delivered: int = strawberry.field(description="Of these, ever delivered.")
    bounced: int = strawberry.field(description="Of these, ever bounced.")
    complained: int = strawberry.field(description="Of these, ever complained of.")
    delivery_rate: float = strawberry.field(description="Delivered of total.")


@strawberry.type(description="How often an event occurred in one period.")
class EventCount:
    event: str = strawberry.field(description="The event's name.")
    date: str = strawberry.field(
        description="The period's first day in UTC, `YYYY-MM-DD`; for hours the instant at which it starts."
    )
    count: int = strawberry.field(description="How often.")


def _numbers(description: str, cost: int) -> Callable[[Callable[..., Any]], Any]:
    """A list that is worked out by walking over rows: dear, however short it is."""
    return lambda resolver: strawberry.field(
        resolver=resolver, description=description, metadata={COST: cost}
    )


@strawberry.type(
    description="Numbers. Rates are rounded to 4 places, and 0 where there is nothing under them."
)
class Metrics:
    @field("How things stand.")
    async def overview(self, info: Info) -> MetricsOverview:
        async with info.context.connection() as conn:
            found = await queries.overview(conn, info.context.runtime.clock.now())
        return MetricsOverview(**vars(found))

    @_numbers("Each journey's runs: those in the code, then those that are gone from it.", 50)
    async def journeys(self, info: Info) -> list[JourneyMetrics]:
        async with info.context.connection() as conn:
            found = await queries.journeys(conn, _names(info.context))
        return [JourneyMetrics.of(runs) for runs in found]

    @field("One journey's runs and emails; null where there is no such journey.")
    async def journey(
        self,
        info: Info,
        id: Annotated[strawberry.ID, described("Its id, prefixed or as its author gave it.")],
    ) -> JourneyReachMetrics | None:
        journey_id = ids.name_of(id, "journey")
        async with info.context.connection() as conn:
            reach = await queries.journey(conn, journey_id)
        known = info.context.runtime.registry.get(journey_id) is not None or reach.enrolled
        return JourneyReachMetrics.of(reach) if known else None

    @_numbers("By template, what ever happened to the emails that were created in the window.", 50)
    async def emails(
        self,
        info: Info,
        from_: From = None,
        to: To = None,
        include_untemplated: Annotated[
            bool, described("Whether sends without a template are there too, as `(none)`.")
        ] = False,
    ) -> list[TemplateMetrics]:
        async with info.context.connection() as conn:
            found = await queries.emails(conn, Span(from_, to), untemplated=include_untemplated)
        return [TemplateMetrics.of(key, engagement) for key, engagement in found]

    @_numbers(
        "What became of what was sent, by when it was created, oldest first; only where there is any.", 50
    )
    async def deliverability(
        self,
        info: Info,
        period: Annotated[
            DeliverabilityPeriod, described("How long one point is.")
        ] = DeliverabilityPeriod.DAY,
        from_: From = None,
        to: To = None,
    ) -> list[DeliverabilityPoint]:
        async with info.context.connection() as conn:
            found = await queries.deliverability(conn, Period(period.value), Span(from_, to))
        return [_point(start, engagement) for start, engagement in found]

    @_numbers("How often each event occurred, oldest first, then by name.", 50)
    async def events(
        self,
        info: Info,
        granularity: Annotated[EventGranularity, described("How long one count is.")] = EventGranularity.DAY,
        from_: From = None,
        to: To = None,
    ) -> list[EventCount]:
        async with info.context.connection() as conn:
            found = await queries.events(conn, Period(granularity.value), Span(from_, to))
        hourly = granularity is EventGranularity.HOUR
        return [
            EventCount(
                event=one.event,
                date=instant_text(one.start) if hourly else one.start.date().isoformat(),
                count=one.count,
            )
            for one in found
        ]


async def journey_metrics(context: Context, journey_id: str) -> JourneyMetrics:
    """One journey's runs; what sibling journeys ask for is one statement."""

    async def load(journey_ids: list[str]) -> list[JourneyMetrics]:
        async with context.connection() as conn:
            found = await queries.journeys(conn, _names(context))
        by_id = {runs.journey_id: JourneyMetrics.of(runs) for runs in found}
        return [by_id[one] for one in journey_ids]

    return await context.loader("journey metrics", load).load(journey_id)


def _names(context: Context) -> dict[str, str]:
    return {journey.id: journey.name for journey in context.runtime.registry.all()}


def _point(start: datetime, engagement: Engagement) -> DeliverabilityPoint:
    return DeliverabilityPoint(
        date=start.date().isoformat(),
        total=engagement.sent,
        delivered=engagement.delivered,
        bounced=engagement.bounced,
        complained=engagement.complained,
        delivery_rate=engagement.delivery_rate,
    )


@strawberry.type
class MetricsQuery:
    @query(description="Numbers: how things stand, and how they went.", cost=10)
    def metrics(self) -> Metrics:
        return Metrics()
