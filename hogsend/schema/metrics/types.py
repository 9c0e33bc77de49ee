"""Metrics of emails and events in the schema, and the periods that they are counted by."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from hogsend.clock import instant_text
from hogsend.graphql.enums import WireEnum, described_enum, wire_enum
from hogsend.graphql.fields import attribute, wire_type
from hogsend.graphql.mapping import from_object
from hogsend.metrics import queries
from hogsend.metrics.feed import Topic
from hogsend.metrics.periods import Period


@wire_enum("Period that one data point of deliverability covers.")
class DeliverabilityPeriod(WireEnum):
    DAY = "day", "A day in UTC."
    WEEK = "week", "A week in UTC, from Monday."
    MONTH = "month", "A month in UTC."


@wire_enum("Period that one count of events covers.")
class EventGranularity(WireEnum):
    HOUR = "hour", "An hour."
    DAY = "day", "A day in UTC."
    WEEK = "week", "A week in UTC, from Monday."


described_enum(
    Topic,
    "MetricsTopic",
    "Which metrics a client follows.",
    {
        Topic.OVERVIEW: "The overview.",
        Topic.JOURNEYS: "Each journey's runs.",
        Topic.EMAILS: "Engagement by template with all emails ever, `(none)` included.",
        Topic.EVENTS: "Occurrences of each event from the current day in UTC on.",
    },
)


@wire_type("Metrics overview: the state of things now.")
class MetricsOverview:
    total_contacts: int = attribute("Number of contacts that are not deleted.")
    active_journeys: int = attribute("Number of journeys with runs under way.")
    emails_sent_24h: int = attribute("Number of emails sent in the last 24 hours.", name="emailsSent24h")
    emails_sent_7d: int = attribute("Number of emails sent in the last 7 days.", name="emailsSent7d")
    emails_sent_30d: int = attribute("Number of emails sent in the last 30 days.", name="emailsSent30d")
    bounce_rate_30d: float = attribute("Bounced of sent in the last 30 days, 0 to 1.", name="bounceRate30d")
    unsubscribe_rate: float = attribute("Contacts unsubscribed from everything, of all contacts, 0 to 1.")


@wire_type("Engagement with the emails of one template.")
class TemplateMetrics:
    template_key: str = attribute("Key of the template; `(none)` for emails sent without one.")
    sent: int = attribute("Number of emails sent.")
    delivered: int = attribute("Number of these ever delivered.")
    opened: int = attribute("Number of these ever opened.")
    clicked: int = attribute("Number of these ever clicked.")
    bounced: int = attribute("Number of these ever bounced.")
    delivery_rate: float = attribute("Delivered of sent, 0 to 1.")
    open_rate: float = attribute("Opened of delivered, 0 to 1; of sent where nothing is delivered yet.")
    click_rate: float = attribute("Clicked of opened, 0 to 1.")
    click_to_delivery_rate: float = attribute("Clicked of delivered, 0 to 1.")


@wire_type("Deliverability of the emails of one period.", columns={"total": "sent"})
class DeliverabilityPoint:
    date: str = attribute("First day of the period in UTC, `YYYY-MM-DD`.")
    total: int = attribute("Number of emails of the period that were sent.")
    delivered: int = attribute("Number of these ever delivered.")
    bounced: int = attribute("Number of these ever bounced.")
    complained: int = attribute("Number of these ever marked as spam.")
    delivery_rate: float = attribute("Delivered of total, 0 to 1.")


@wire_type("Number of occurrences of one event in one period.")
class EventCount:
    event: str = attribute("Name of the event.")
    date: str = attribute(
        "First day of the period in UTC, `YYYY-MM-DD`; for hours the instant at which it starts."
    )
    count: int = attribute("Number of occurrences.")


@wire_type("How the hourly check of the rollups that metrics are read from went.")
class MetricsCheck:
    at: datetime = attribute("When the last check was.")
    hours: int = attribute(
        "Number of hours that it compared with the rows: the last two days, and in turn a week of the time before."
    )
    mended: int = attribute("Number of counts that it found wrong, and put right.")
    mended_ever: int = attribute("Number of counts that any check put right.")
    mended_at: datetime | None = attribute("When a check last put any right; null where none did.")


def templates(found: Sequence[tuple[str, queries.Engagement]]) -> list[TemplateMetrics]:
    return [from_object(TemplateMetrics, engagement, template_key=key) for key, engagement in found]


def event_counts(found: Sequence[queries.EventCount], period: Period) -> list[EventCount]:
    def date(start: datetime) -> str:
        return instant_text(start) if period is Period.HOUR else start.date().isoformat()

    return [from_object(EventCount, one, date=date(one.start)) for one in found]
