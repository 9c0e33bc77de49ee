"""The funnel of a journey in the schema: how many runs reached each step."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Select, func, select

from hogsend.graphql.context import Context
from hogsend.graphql.fields import attribute, wire_type
from hogsend.graphql.links import rows_for
from hogsend.graphql.mapping import from_row
from hogsend.tables.journeys import journey_states, journey_steps


@wire_type("A step of a journey's funnel: how many runs reached and passed it.", columns={"node": "label"})
class FunnelStep:
    node: str = attribute("Label of the step: a template, an event, a duration …")
    kind: str = attribute("Kind of the step: `send`, `sleep`, `wait`, `checkpoint` …")
    reached: int = attribute("Number of runs that reached it.")
    passed: int = attribute("Number of these that went on past it.")


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
    rows = await rows_for(context, "journey funnel", _statement, "journey_id", journey_id)
    return [from_row(FunnelStep, row) for row in rows]
