"""The health of the system in the schema."""

from __future__ import annotations

from datetime import datetime, timedelta

import strawberry

from hogsend.graphql.context import Info
from hogsend.graphql.enums import WireEnum, wire_enum
from hogsend.graphql.fields import attribute, query, wire_type
from hogsend.graphql.mapping import from_object
from hogsend.health import check_health


@wire_enum("Overall health of the system.")
class HealthStatus(WireEnum):
    HEALTHY = "healthy", "Every component answers."
    DEGRADED = "degraded", "A component does not answer; what does not need it is served."
    MIGRATION_PENDING = (
        "migration_pending",
        "The database is not at the code's schema revision: run `hogsend migrate`.",
    )


@wire_type("Health of one component.")
class HealthComponent:
    up: bool = attribute("Whether it answers.")
    latency_ms: float = attribute("Milliseconds of one round trip; 0 where it is down.")


@wire_type("Schema revision of the database, compared with the code's.")
class HealthSchema:
    required: str = attribute("Revision that the code needs.")
    applied: str | None = attribute("Revision that the database has.")
    in_sync: bool = attribute("Whether the two are the same.")
    pending: list[str] = attribute("Revisions to apply, in order.")


@wire_type("Health of the system and of its components.", columns={"timestamp": "at"})
class HealthReport:
    status: HealthStatus = attribute("Overall health.")
    uptime: timedelta = attribute("Time since this process began to serve.")
    timestamp: datetime = attribute("When health was checked.")
    version: str = attribute("Version of Hogsend.")
    database: HealthComponent = attribute("Postgres.")
    redis: HealthComponent = attribute("Redis.")
    engine: HealthComponent = attribute("The engine that drives journeys.")
    schema: HealthSchema | None = attribute(
        "Schema revision of the database; null where the database does not answer."
    )


@strawberry.type
class HealthQuery:
    @query(cost=5, description="Health of the system and of its components.")
    async def health(self, info: Info) -> HealthReport:
        return from_object(HealthReport, await check_health(info.context.runtime))
