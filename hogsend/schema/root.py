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

from hogsend.graphql.fields import wire_type
from hogsend.graphql.scalars import SCALARS
from hogsend.schema.access.audit_log import AuditQuery
from hogsend.schema.access.mutations import ApiKeyMutation
from hogsend.schema.access.subscriptions import AuditSubscription
from hogsend.schema.access.types import ApiKeyQuery
from hogsend.schema.alerts.invariants import InvariantQuery
from hogsend.schema.alerts.mutations import AlertMutation
from hogsend.schema.alerts.subscriptions import AlertSubscription
from hogsend.schema.alerts.types import AlertQuery
from hogsend.schema.contacts.import_mutations import ImportMutation
from hogsend.schema.contacts.import_subscriptions import ImportSubscription
from hogsend.schema.contacts.imports import ImportQuery
from hogsend.schema.contacts.mutations import ContactMutation
from hogsend.schema.contacts.subscriptions import ContactSubscription
from hogsend.schema.contacts.timeline import ENTRY_TYPES
from hogsend.schema.contacts.types import ContactQuery
from hogsend.schema.deadletters.mutations import DeadLetterMutation
from hogsend.schema.deadletters.subscriptions import DeadLetterSubscription
from hogsend.schema.deadletters.types import DeadLetterQuery, Job
from hogsend.schema.decisions.subscriptions import DecisionSubscription
from hogsend.schema.decisions.types import DecisionQuery
from hogsend.schema.emails.mutations import EmailMutation
from hogsend.schema.emails.subscriptions import EmailSubscription
from hogsend.schema.emails.templates import TemplateQuery
from hogsend.schema.emails.types import EmailQuery
from hogsend.schema.events.batch import EventBatchMutation
from hogsend.schema.events.mutations import EventMutation
from hogsend.schema.events.subscriptions import EventSubscription
from hogsend.schema.events.types import EventQuery
from hogsend.schema.health import HealthQuery
from hogsend.schema.journeys.enroll_mutations import EnrollMutation
from hogsend.schema.journeys.mutations import SwitchMutation
from hogsend.schema.journeys.run_mutations import RunMutation
from hogsend.schema.journeys.runs import JourneyStateQuery
from hogsend.schema.journeys.types import JourneyQuery
from hogsend.schema.metrics.query import MetricsQuery
from hogsend.schema.metrics.subscriptions import MetricsSubscription
from hogsend.schema.node import NodeQuery
from hogsend.schema.stream_position import StreamPositionQuery
from hogsend.schema.viewer import ViewerQuery


@wire_type("Queries: read anything.")
class Query(
    ViewerQuery,
    HealthQuery,
    NodeQuery,
    StreamPositionQuery,
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
    InvariantQuery,
    DeadLetterQuery,
    MetricsQuery,
):
    """One mixin a feature."""


@wire_type("Mutations: change something. Mistakes in the input are in the payload's `userErrors`.")
class Mutation(
    ContactMutation,
    ImportMutation,
    EventMutation,
    EventBatchMutation,
    EnrollMutation,
    SwitchMutation,
    RunMutation,
    EmailMutation,
    ApiKeyMutation,
    AlertMutation,
    DeadLetterMutation,
):
    """One mixin a feature."""


@wire_type("Subscriptions: follow what happens, live.")
class Subscription(
    ContactSubscription,
    ImportSubscription,
    DecisionSubscription,
    EmailSubscription,
    EventSubscription,
    AlertSubscription,
    MetricsSubscription,
    DeadLetterSubscription,
    AuditSubscription,
):
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
