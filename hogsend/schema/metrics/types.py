"""Metrics of emails and events in the schema, and the periods that they are counted by."""

from __future__ import annotations

from typing import ClassVar

import strawberry

from hogsend.graphql.enums import WireEnum, wire_enum
from hogsend.graphql.mapping import FieldMap


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


@strawberry.type(description="Metrics overview: the state of things now.")
class MetricsOverview:
    total_contacts: int = strawberry.field(description="Number of contacts that are not deleted.")
    active_journeys: int = strawberry.field(description="Number of journeys with runs under way.")
    emails_sent_24h: int = strawberry.field(
        name="emailsSent24h", description="Number of emails sent in the last 24 hours."
    )
    emails_sent_7d: int = strawberry.field(
        name="emailsSent7d", description="Number of emails sent in the last 7 days."
    )
    emails_sent_30d: int = strawberry.field(
        name="emailsSent30d", description="Number of emails sent in the last 30 days."
    )
    bounce_rate_30d: float = strawberry.field(
        name="bounceRate30d", description="Bounced of sent in the last 30 days, 0 to 1."
    )
    unsubscribe_rate: float = strawberry.field(
        description="Contacts unsubscribed from everything, of all contacts, 0 to 1."
    )


@strawberry.type(description="Engagement with the emails of one template.")
class TemplateMetrics:
    template_key: str = strawberry.field(
        description="Key of the template; `(none)` for emails sent without one."
    )
    sent: int = strawberry.field(description="Number of emails sent.")
    delivered: int = strawberry.field(description="Number of these ever delivered.")
    opened: int = strawberry.field(description="Number of these ever opened.")
    clicked: int = strawberry.field(description="Number of these ever clicked.")
    bounced: int = strawberry.field(description="Number of these ever bounced.")
    delivery_rate: float = strawberry.field(description="Delivered of sent, 0 to 1.")
    open_rate: float = strawberry.field(
        description="Opened of delivered, 0 to 1; of sent where nothing is delivered yet."
    )
    click_rate: float = strawberry.field(description="Clicked of opened, 0 to 1.")
    click_to_delivery_rate: float = strawberry.field(description="Clicked of delivered, 0 to 1.")


@strawberry.type(description="Deliverability of the emails of one period.")
class DeliverabilityPoint:
    columns: ClassVar[FieldMap] = {"total": "sent"}

    date: str = strawberry.field(description="First day of the period in UTC, `YYYY-MM-DD`.")
    total: int = strawberry.field(description="Number of emails of the period that were sent.")
    delivered: int = strawberry.field(description="Number of these ever delivered.")
    bounced: int = strawberry.field(description="Number of these ever bounced.")
    complained: int = strawberry.field(description="Number of these ever marked as spam.")
    delivery_rate: float = strawberry.field(description="Delivered of total, 0 to 1.")


@strawberry.type(description="Number of occurrences of one event in one period.")
class EventCount:
    event: str = strawberry.field(description="Name of the event.")
    date: str = strawberry.field(
        description="First day of the period in UTC, `YYYY-MM-DD`; for hours the instant at which it starts."
    )
    count: int = strawberry.field(description="Number of occurrences.")
