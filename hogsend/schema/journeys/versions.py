"""The versions of a journey's code in the schema, and what a deploy does to their runs."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import strawberry

from hogsend.graphql.context import Context
from hogsend.graphql.fields import attribute, wire_type
from hogsend.graphql.links import rows_for
from hogsend.graphql.mapping import from_row
from hogsend.graphql.rows import to_one
from hogsend.operations.versions import by_version


@wire_type("A version of a journey's code, and the runs that began with it.")
class JourneyVersion:
    version: str = attribute("Hash of the code.")
    first_seen_at: datetime | None = attribute("When a worker first started with it.")
    live_runs: int = attribute("Number of its runs that have not ended.")
    checked_runs: int | None = attribute(
        "Number of its parked runs that the last worker replayed against the current code, without "
        "effect; null where there was nothing to check."
    )
    breaking_runs: int | None = attribute("Number of the checked runs that will be blocked when they wake.")
    first_mismatch: str | None = attribute(
        "Where the newest of the breaking runs departs from the current code."
    )
    breaking_run_id: strawberry.Private[UUID | None]

    breaking_run = to_one("state", "breaking_run_id", "The newest of the breaking runs.")


async def versions(context: Context, journey_id: str) -> list[JourneyVersion]:
    """The newest first. One statement for all journeys that ask."""
    rows = await rows_for(context, "journey versions", by_version, "journey_id", journey_id)
    return [from_row(JourneyVersion, row) for row in rows]
