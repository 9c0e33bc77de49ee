"""The health of the system in the schema."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

import strawberry

from hogsend.graphql.context import Info
from hogsend.graphql.enums import WireEnum, wire_enum
from hogsend.graphql.fields import query
from hogsend.graphql.mapping import FieldMap, from_object
from hogsend.health import check_health


@wire_enum("Overall health of the system.")
class HealthStatus(WireEnum):
    HEALTHY = "healthy", "Every component answers."
    DEGRADED = "degraded", "A component does not answer; what does not need it is served."
    MIGRATION_PENDING = (
        "migration_pending",
        "The database is not at the code's schema revision: run `hogsend migrate`.",
    )


@strawberry.type(description="Health of one component.")
class HealthComponent:
    up: bool = strawberry.field(description="Whether it answers.")
    latency_ms: float = strawberry.field(description="Milliseconds of one round trip; 0 where it is down.")


@strawberry.type(description="Schema revision of the database, compared with the code's.")
class HealthSchema:
    required: str = strawberry.field(description="Revision that the code needs.")
    applied: str | None = strawberry.field(description="Revision that the database has.")
    in_sync: bool = strawberry.field(description="Whether the two are the same.")
    pending: list[str] = strawberry.field(description="Revisions to apply, in order.")


@strawberry.type(description="Health of the system and of its components.")
class HealthReport:
    columns: ClassVar[FieldMap] = {"timestamp": "at"}

    status: HealthStatus = strawberry.field(description="Overall health.")
    uptime: timedelta = strawberry.field(description="Time since this process began to serve.")
    timestamp: datetime = strawberry.field(description="When health was checked.")
    version: str = strawberry.field(description="Version of Hogsend.")
    database: HealthComponent = strawberry.field(description="Postgres.")
    redis: HealthComponent = strawberry.field(description="Redis.")
    engine: HealthComponent = strawberry.field(description="The engine that drives journeys.")
    schema: HealthSchema | None = strawberry.field(
        description="Schema revision of the database; null where the database does not answer."
    )


@strawberry.type
class HealthQuery:
    @query(cost=5, description="Health of the system and of its components.")
    async def health(self, info: Info) -> HealthReport:
        return from_object(HealthReport, await check_health(info.context.runtime))
