"""Journeys and their runs as GraphQL shows them."""

from hogsend.journeys.schema.enroll import JourneyEnrollInput, JourneyEnrollPayload, JourneyMutation
from hogsend.journeys.schema.journey import Journey, JourneyQuery
from hogsend.journeys.schema.state import (
    JourneyLog,
    JourneyState,
    JourneyStateFilter,
    JourneyStateQuery,
    JourneyStateStatus,
)

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
