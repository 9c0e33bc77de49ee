"""Chains of events that journeys trigger, one from the other: how long one may become, and how long one is.

A journey that triggers the event by which another enters, or for which another waits, can be part of a circle. Two
bounds end it: one on what follows within a day, and one on all of it, through whatever sleeps and waits lie between.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.decisions.reasons import Reason
from hogsend.enrollment.guards import Guard

MOST_CHAINED = 10
MOST_CHAINED_IN_ALL = 100
# Product time: journeys that start one another once a day are slow enough to be a schedule, for a while.
CHAIN_RESTS = timedelta(days=1)

# The events that ended this run's waits, and those that its digests collected.
_HEARD = text("""
WITH heard AS (
    SELECT result->>'event_id' AS id FROM journey_steps
    WHERE state_id = :run AND kind = 'wait' AND status = 'done' AND jsonb_typeof(result) = 'object'
    UNION ALL
    SELECT one->>'event_id' FROM journey_steps
    CROSS JOIN LATERAL jsonb_array_elements(
        CASE WHEN jsonb_typeof(result) = 'array' THEN result ELSE '[]'::jsonb END) AS one
    WHERE state_id = :run AND kind = 'digest' AND status = 'done'
)
SELECT coalesce(max(depth) FILTER (WHERE received_at > :rested), 0) AS depth, coalesce(max(chain), 0) AS chain
FROM user_events WHERE id IN (SELECT id::uuid FROM heard WHERE id IS NOT NULL) AND chain > 0
""")


@dataclass(frozen=True)
class Links:
    """How many events lead to this one: since the chain last rested, and in all."""

    depth: int
    chain: int


def chain_guard(depth: int, chain: int, *, more: int = 0) -> Guard | None:
    """What keeps everybody out where an event is one of too many, `more` than the bound being taken; or None."""
    for most, number, span in (
        (MOST_CHAINED, depth, " within a day"),
        (MOST_CHAINED_IN_ALL, chain, ""),
    ):
        if number > most + more:
            return Guard(
                "trigger chain",
                Reason.TRIGGER_CHAIN_TOO_LONG,
                "failed",
                f"at most {most} events that journeys triggered from one another{span}",
                f"this is number {number}",
            )
    return None


async def links_of_trigger(conn: AsyncConnection, run: RowMapping, now: datetime) -> Links:
    """Those of an event that `run` triggers now: it follows from what let the run in, and from all it has heard.

    Where each of these was a day ago, the chain has rested: `depth` begins anew, `chain` does not.
    """
    rested = now - CHAIN_RESTS
    entered: dict[str, Any] = run["input"]["event"]
    heard = (await conn.execute(_HEARD, {"run": run["id"], "rested": rested})).one()
    depth = int(entered.get("depth", 0)) if run["created_at"] > rested else 0
    # A run that entered before chains were counted in all has as many behind it as its event says.
    chain = int(entered.get("chain", entered.get("depth", 0)))
    return Links(max(depth, heard.depth) + 1, max(chain, heard.chain) + 1)
