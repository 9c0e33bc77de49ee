"""Lazy references between the types of the schema, each once: types refer to one another in circles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import strawberry

from hogsend.graphql.context import Context

if TYPE_CHECKING:
    from hogsend.schema.contacts.types import Contact
    from hogsend.schema.decisions.types import Decision
    from hogsend.schema.emails.types import Email
    from hogsend.schema.events.types import Event
    from hogsend.schema.journeys.runs import JourneyState, JourneyStateStatus
    from hogsend.schema.journeys.types import Journey
    from hogsend.schema.metrics import JourneyMetrics

ContactRef = Annotated["Contact", strawberry.lazy("hogsend.schema.contacts.types")]
DecisionRef = Annotated["Decision", strawberry.lazy("hogsend.schema.decisions.types")]
EmailRef = Annotated["Email", strawberry.lazy("hogsend.schema.emails.types")]
EventRef = Annotated["Event", strawberry.lazy("hogsend.schema.events.types")]
JourneyMetricsRef = Annotated["JourneyMetrics", strawberry.lazy("hogsend.schema.metrics")]
JourneyRef = Annotated["Journey", strawberry.lazy("hogsend.schema.journeys.types")]
StateRef = Annotated["JourneyState", strawberry.lazy("hogsend.schema.journeys.runs")]
StatusRef = Annotated["JourneyStateStatus", strawberry.lazy("hogsend.schema.journeys.runs")]


def journey_named(context: Context, journey_id: str | None) -> Journey | None:
    """The journey that this deployment knows by the author's id."""
    from hogsend.schema.journeys.types import Journey

    return Journey.named(context, journey_id)
