"""How far people come in a journey."""

from __future__ import annotations

from collections.abc import Sequence

import strawberry
from sqlalchemy import Select, func, select

from hogsend.graphql.context import Context
from hogsend.tables.journeys import journey_states, journey_steps


@strawberry.type(description="One step of a journey, and how many runs came to it.")
class FunnelStep:
    node: str = strawberry.field(description="The step's label: a template, an event, a length of time …")
    kind: str = strawberry.field(description="What it does: `send`, `sleep`, `wait`, `checkpoint` …")
    reached: int = strawberry.field(description="Runs that came to it.")
    passed: int = strawberry.field(description="Of these, runs that went on behind it.")


def _statement(journey_ids: Sequence[str]) -> Select[tuple[str, str, str, int, int, int]]:
    states, steps = journey_states.c, journey_steps.c
    place = func.min(steps.seq)
    return (
        select(
            states.journey_id,
            steps.label,
            steps.kind,
            place.label("place"),
            func.count(steps.state_id.distinct()).label("reached"),
            func.count(steps.state_id.distinct()).filter(steps.status == "done").label("passed"),
        )
        .join_from(journey_states, journey_steps, states.id == steps.state_id)
        .where(states.journey_id.in_(journey_ids))
        .group_by(states.journey_id, steps.label, steps.kind)
        .order_by(states.journey_id, place, steps.label)
    )


async def funnel(context: Context, journey_id: str) -> list[FunnelStep]:
    """The steps of a journey in the order in which runs first came to them. One statement for all that ask."""

    async def load(journey_ids: list[str]) -> list[list[FunnelStep]]:
        found: dict[str, list[FunnelStep]] = {one: [] for one in journey_ids}
        for row in await context.rows(_statement(journey_ids)):
            step = FunnelStep(
                node=row["label"], kind=row["kind"], reached=row["reached"], passed=row["passed"]
            )
            found[row["journey_id"]].append(step)
        return [found[one] for one in journey_ids]

    return await context.loader("journey funnel", load).load(journey_id)
