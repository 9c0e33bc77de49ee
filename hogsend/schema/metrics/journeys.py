"""Metrics of journeys in the schema."""

from __future__ import annotations

from typing import ClassVar

import strawberry

from hogsend.graphql.context import Context
from hogsend.graphql.mapping import FieldMap, from_object
from hogsend.graphql.rows import in_code
from hogsend.metrics import queries


@strawberry.type(description="Metrics of all runs of a journey, ever.")
class JourneyMetrics:
    columns: ClassVar[FieldMap] = {"avg_duration_secs": "average_seconds"}

    journey_id: str = strawberry.field(description="Key of the journey.")
    name: str = strawberry.field(description="Display name; the key where the code has the journey no more.")
    enrolled: int = strawberry.field(description="Number of runs that began.")
    completed: int = strawberry.field(description="Number of runs that completed.")
    failed: int = strawberry.field(description="Number of runs that failed or are blocked.")
    exited: int = strawberry.field(description="Number of runs that were ended early.")
    active: int = strawberry.field(description="Number of runs under way, waiting ones included.")
    completion_rate: float = strawberry.field(description="Completed of enrolled, 0 to 1.")
    avg_duration_secs: float | None = strawberry.field(
        description="Mean seconds from entry to completion; null where none completed."
    )

    journey = in_code("journey", "journey_id", "The journey; null where the code has it no more.")


@strawberry.type(description="Metrics of a journey's runs and of its emails.")
class JourneyReachMetrics:
    enrolled: int = strawberry.field(description="Number of runs that began.")
    email_sent: int = strawberry.field(description="Number of its emails that were sent.")
    email_opened: int = strawberry.field(description="Number of its emails that were ever opened.")
    email_clicked: int = strawberry.field(description="Number of its emails that were ever clicked.")
    completed: int = strawberry.field(description="Number of runs that completed.")
    failed: int = strawberry.field(description="Number of runs that failed or are blocked.")
    exited: int = strawberry.field(description="Number of runs that were ended early.")


async def journey_metrics(context: Context, journey_id: str) -> JourneyMetrics:
    """One journey's runs; what sibling journeys ask for is one statement."""

    async def load(journey_ids: list[str]) -> list[JourneyMetrics]:
        by_id = {one.journey_id: one for one in await all_journey_metrics(context)}
        return [by_id[one] for one in journey_ids]

    return await context.loader("journey metrics", load).load(journey_id)


async def all_journey_metrics(context: Context) -> list[JourneyMetrics]:
    """Each journey's runs: those in the code, then those that are gone from it."""
    names = {journey.id: journey.name for journey in context.runtime.registry.all()}
    async with context.connection() as conn:
        return [from_object(JourneyMetrics, runs) for runs in await queries.journeys(conn, names)]
