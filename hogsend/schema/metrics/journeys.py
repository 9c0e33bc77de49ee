"""Metrics of journeys in the schema."""

from __future__ import annotations

from collections.abc import Sequence

from hogsend.graphql.context import Context
from hogsend.graphql.fields import attribute, wire_type
from hogsend.graphql.mapping import from_object
from hogsend.graphql.rows import in_code
from hogsend.metrics import queries


@wire_type("Metrics of all runs of a journey, ever.", columns={"avg_duration_secs": "average_seconds"})
class JourneyMetrics:
    journey_id: str = attribute("Key of the journey.")
    name: str = attribute("Display name; the key where the code has the journey no more.")
    enrolled: int = attribute("Number of runs that began.")
    completed: int = attribute("Number of runs that completed.")
    failed: int = attribute("Number of runs that failed or are blocked.")
    exited: int = attribute("Number of runs that were ended early.")
    active: int = attribute("Number of runs under way, waiting ones included.")
    completion_rate: float = attribute("Completed of enrolled, 0 to 1.")
    avg_duration_secs: float | None = attribute(
        "Mean seconds from entry to completion; null where none completed."
    )

    journey = in_code("journey", "journey_id", "The journey; null where the code has it no more.")


@wire_type("Metrics of a journey's runs and of its emails.")
class JourneyReachMetrics:
    enrolled: int = attribute("Number of runs that began.")
    email_sent: int = attribute("Number of its emails that were sent.")
    email_opened: int = attribute("Number of its emails that were ever opened.")
    email_clicked: int = attribute("Number of its emails that were ever clicked.")
    completed: int = attribute("Number of runs that completed.")
    failed: int = attribute("Number of runs that failed or are blocked.")
    exited: int = attribute("Number of runs that were ended early.")


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
        return journeys(await queries.journeys(conn, names))


def journeys(found: Sequence[queries.JourneyRuns]) -> list[JourneyMetrics]:
    return [from_object(JourneyMetrics, runs) for runs in found]
