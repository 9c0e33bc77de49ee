"""The versions of a journey's code, and what a deploy does to their runs."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import strawberry

from hogsend.graphql.context import Context, Info
from hogsend.graphql.fields import field
from hogsend.graphql.node import from_row, link
from hogsend.operations.versions import by_version
from hogsend.schema.refs import StateRef


@strawberry.type(description="One version of a journey's code, and the runs that began with it.")
class JourneyVersion:
    version: str = strawberry.field(description="The hash that runs carry.")
    first_seen_at: datetime | None = strawberry.field(description="When a worker first started with it.")
    live_runs: int = strawberry.field(description="Runs of it that have not ended.")
    checked_runs: int | None = strawberry.field(
        description="How many of its parked runs the last worker replayed with the code of now, without effect; "
        "null where there was nothing to check."
    )
    breaking_runs: int | None = strawberry.field(
        description="How many of those would be blocked when they wake."
    )
    first_mismatch: str | None = strawberry.field(description="Where the newest of these would stop.")
    breaking_run_id: strawberry.Private[UUID | None]

    @field("The newest of the runs that would be blocked.")
    async def breaking_run(self, info: Info) -> StateRef | None:
        return await link(info.context, "state", self.breaking_run_id)  # type: ignore[no-any-return]


async def versions(context: Context, journey_id: str) -> list[JourneyVersion]:
    """The newest first. One statement for all journeys that ask."""

    async def load(journey_ids: list[str]) -> list[list[JourneyVersion]]:
        found: dict[str, list[JourneyVersion]] = {one: [] for one in journey_ids}
        for row in await context.rows(by_version(journey_ids)):
            found[row["journey_id"]].append(from_row(JourneyVersion, row))
        return [found[one] for one in journey_ids]

    return await context.loader("journey versions", load).load(journey_id)
