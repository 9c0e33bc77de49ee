"""The schema: every feature's part of it, in one list each."""

from __future__ import annotations

from functools import cache
from typing import Any

import strawberry
from graphql import GraphQLSchema
from strawberry.printer import print_schema
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.name_converter import NameConverter
from strawberry.types.base import StrawberryObjectDefinition, StrawberryType

from hogsend.access.schema import ApiKeyMutation, ApiKeyQuery, AuditQuery
from hogsend.alerts.mutations import AlertMutation
from hogsend.alerts.schema import AlertQuery
from hogsend.contacts.schema import (
    ENTRY_TYPES,
    ContactMutation,
    ContactQuery,
    ImportMutation,
    ImportQuery,
)
from hogsend.contacts.subscriptions import ContactSubscription
from hogsend.deadletters.mutations import DeadLetterMutation
from hogsend.deadletters.schema import DeadLetterQuery, Job
from hogsend.decisions.schema import DecisionQuery
from hogsend.decisions.subscriptions import DecisionSubscription
from hogsend.emails.schema import EmailQuery, TemplateQuery
from hogsend.emails.schema.mutations import EmailMutation
from hogsend.emails.subscriptions import EmailSubscription
from hogsend.events.mutations import EventReplayMutation
from hogsend.events.schema import EventMutation, EventQuery
from hogsend.events.subscriptions import EventSubscription
from hogsend.graphql.health import HealthQuery
from hogsend.graphql.nodes import NodeQuery
from hogsend.graphql.scalars import SCALARS
from hogsend.graphql.viewer import ViewerQuery
from hogsend.journeys.schema import JourneyMutation, JourneyQuery, JourneyStateQuery
from hogsend.journeys.schema.batch import JourneyBatch
from hogsend.journeys.schema.steer import JourneySteering
from hogsend.metrics.schema import MetricsQuery


@strawberry.type(description="Read everything.")
class Query(
    ViewerQuery,
    HealthQuery,
    NodeQuery,
    ContactQuery,
    ImportQuery,
    JourneyQuery,
    JourneyStateQuery,
    EmailQuery,
    TemplateQuery,
    EventQuery,
    DecisionQuery,
    ApiKeyQuery,
    AuditQuery,
    AlertQuery,
    DeadLetterQuery,
    MetricsQuery,
):
    """One mixin a feature."""


@strawberry.type(description="Change something. What the sender got wrong is in the payload's `userErrors`.")
class Mutation(
    ContactMutation,
    ImportMutation,
    EventMutation,
    EventReplayMutation,
    JourneyMutation,
    JourneyBatch,
    JourneySteering,
    EmailMutation,
    ApiKeyMutation,
    AlertMutation,
    DeadLetterMutation,
):
    """One mixin a feature."""


@strawberry.type(description="Follow what happens.")
class Subscription(ContactSubscription, DecisionSubscription, EmailSubscription, EventSubscription):
    """One mixin a feature."""


class _Names(NameConverter):
    """`UserError[JourneyEnrollErrorCode]` is `JourneyEnrollUserError`."""

    def from_generic(
        self, generic_type: StrawberryObjectDefinition, types: list[StrawberryType | type]
    ) -> str:
        return super().from_generic(generic_type, types).replace("ErrorCodeUserError", "UserError")


@cache
def _schema() -> strawberry.Schema:
    return strawberry.Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=[*ENTRY_TYPES, Job],
        config=StrawberryConfig(name_converter=_Names(), scalar_map=SCALARS),
    )


def graphql_schema() -> GraphQLSchema:
    """The schema as graphql-core executes it."""
    schema: Any = _schema()._schema
    assert isinstance(schema, GraphQLSchema)
    return schema


def sdl() -> str:
    """The schema in SDL, as `schema.graphql` holds it."""
    return print_schema(_schema()) + "\n"
