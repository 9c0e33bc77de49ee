"""Runs are locked by id, whoever locks several: exits, the publisher and merges at once never wait in a circle."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend import Context, User, journey
from hogsend.engine.embedded import EmbeddedEngine
from hogsend.engine.publisher import Publisher
from hogsend.events.event import NewEvent
from hogsend.execution.due_runs import note_engine_run
from hogsend.ingestion.ingest import ingest
from hogsend.runtime import Runtime
from tests.driving import rows
from tests.fixtures.journeys import RunningWith

JOURNEYS = 8
ROUNDS = 10


def waiting(number: int) -> Any:
    @journey(id=f"waits-{number}", trigger="begin", entry="unlimited", exit_on=["stop"])
    async def waits(user: User, ctx: Context) -> None:
        await ctx.wait_for("never", timeout="1d")

    return waits


class Naming(EmbeddedEngine):
    """Gives each run that it starts a name of its own, which the publisher writes into the run."""

    async def start_run(self, run_id: UUID, generation: int) -> str | None:
        return f"engine:{run_id}"


async def note_and_breathe(conn: AsyncConnection, run_id: UUID, engine_run_id: str) -> None:
    await note_engine_run(conn, run_id, engine_run_id)
    await asyncio.sleep(0)


async def test_exits_the_publisher_and_merges_race_without_a_deadlock(running: RunningWith) -> None:
    async with running(*(waiting(number) for number in range(JOURNEYS))) as runtime:
        for round_ in range(ROUNDS):
            await _race(runtime, f"u{round_}", f"u{round_}@example.com")
        left = await rows(
            runtime,
            "SELECT count(*) AS n FROM journey_states WHERE status <> 'exited' AND engine_run_id IS NULL",
        )
        assert left[0].n == 0


async def _race(runtime: Runtime, user_id: str, email: str) -> None:
    """One person under two keys, in every journey twice; then all at once."""
    await ingest(runtime, NewEvent("begin", external_id=user_id))
    await ingest(runtime, NewEvent("begin", email=email))
    publisher = Publisher(runtime, Naming(runtime), note_run=note_and_breathe)
    await asyncio.gather(
        publisher.publish_due(),
        ingest(runtime, NewEvent("stop", email=email)),
        ingest(runtime, NewEvent("stop", external_id=user_id)),
        ingest(runtime, NewEvent("seen", external_id=user_id, email=email)),
    )
    while await publisher.publish_due():
        pass
