"""How the system is doing, on the wire."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum

import strawberry

from hogsend.graphql.context import Info
from hogsend.graphql.enums import described_enum
from hogsend.graphql.fields import query
from hogsend.health import Component, check_health


class HealthStatus(Enum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    MIGRATION_PENDING = "migration_pending"


described_enum(
    HealthStatus,
    "HealthStatus",
    "How the system is doing.",
    {
        HealthStatus.HEALTHY: "Everything answers.",
        HealthStatus.DEGRADED: "Something that it stands on does not answer; it serves what it can.",
        HealthStatus.MIGRATION_PENDING: "The database is not at the code's revision: run `hogsend migrate`.",
    },
)


@strawberry.type(description="One thing that the system stands on.")
class HealthComponent:
    up: bool = strawberry.field(description="Whether it answers.")
    latency_ms: float = strawberry.field(description="Milliseconds of one round trip; 0 where it is down.")

    @classmethod
    def of(cls, component: Component) -> HealthComponent:
        return cls(up=component.up, latency_ms=component.latency_ms)


@strawberry.type(description="Where the database stands against the code.")
class HealthSchema:
    required: str = strawberry.field(description="The revision that the code needs.")
    applied: str | None = strawberry.field(description="The revision that the database has.")
    in_sync: bool = strawberry.field(description="Whether they are the same.")
    pending: list[str] = strawberry.field(description="The revisions to apply, in order.")


@strawberry.type(description="How the system is doing.")
class HealthReport:
    status: HealthStatus = strawberry.field(description="In one word.")
    uptime: timedelta = strawberry.field(description="For how long this process has served.")
    timestamp: datetime = strawberry.field(description="When this was found out.")
    version: str = strawberry.field(description="Of Hogsend.")
    database: HealthComponent = strawberry.field(description="Postgres.")
    redis: HealthComponent = strawberry.field(description="Redis.")
    engine: HealthComponent = strawberry.field(description="What drives the journeys.")
    schema: HealthSchema | None = strawberry.field(
        description="Where the database stands against the code; null where it does not answer."
    )


@strawberry.type
class HealthQuery:
    @query(cost=5, description="How the system is doing.")
    async def health(self, info: Info) -> HealthReport:
        found = await check_health(info.context.runtime)
        schema = None
        if found.schema is not None:
            schema = HealthSchema(
                required=found.schema.required,
                applied=found.schema.applied,
                in_sync=found.schema.in_sync,
                pending=list(found.schema.pending),
            )
        return HealthReport(
            status=HealthStatus(found.status),
            uptime=found.uptime,
            timestamp=found.at,
            version=found.version,
            database=HealthComponent.of(found.database),
            redis=HealthComponent.of(found.redis),
            engine=HealthComponent.of(found.engine),
            schema=schema,
        )
