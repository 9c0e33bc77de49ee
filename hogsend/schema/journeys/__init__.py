"""Journeys and their runs as GraphQL shows them."""

from hogsend.schema.journeys.enroll import JourneyEnrollInput, JourneyEnrollPayload, JourneyMutation
from hogsend.schema.journeys.runs import (
    JourneyLog,
    JourneyState,
    JourneyStateFilter,
    JourneyStateQuery,
    JourneyStateStatus,
)
from hogsend.schema.journeys.types import Journey, JourneyQuery

__all__ = [
    "Journey",
    "JourneyEnrollInput",
    "JourneyEnrollPayload",
    "JourneyLog",
    "JourneyMutation",
    "JourneyQuery",
    "JourneyState",
    "JourneyStateFilter",
    "JourneyStateQuery",
    "JourneyStateStatus",
]
