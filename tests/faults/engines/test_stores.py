"""Redis is flushed and Postgres restarts while workers are at work."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from redis.asyncio import Redis
from sqlalchemy import update
from sqlalchemy.exc import DBAPIError

from hogsend.storage.embedded import EmbeddedStack
from hogsend.storage.migrate import migrate
from hogsend.storage.stopping import stop
from hogsend.tables.emails import email_sends
from hogsend.tables.journeys import journey_states
from tests.driving import rows, send_event
from tests.engine.plant import ENGINES, Plant, open_plant
from tests.engine.worker_process import eventually
from tests.faults.engines.conftest import JOURNEYS

pytestmark = pytest.mark.asyncio(loop_scope="package")

PEOPLE = 12


async def test_redis_is_flushed_over_and_over(plant: Plant) -> None:
    flushes = 0

    async def flush() -> None:
        nonlocal flushes
        async with Redis.from_url(plant.runtime.settings.redis_url) as redis:
            while True:
                await redis.flushall()
                flushes += 1
                await asyncio.sleep(0.005)

    flushing = asyncio.create_task(flush())
    people = [plant.somebody() for _ in range(PEOPLE)]
    runs = [await plant.begin("walk", email) for email in people]
    await plant.until_all(runs, "status = 'completed'")
    await stop(flushing)
    assert flushes > 10
    for email in people:
        plant.got(email, "Welcome", "Nudge", "Bye")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
async def test_postgres_restarts_under_a_worker(own_stack: EmbeddedStack, engine: str) -> None:
    """At full speed, with emails on the wire. The worker process lives on, and every person gets each email once."""
    async with open_plant(
        engine, database_url=own_stack.database_url, redis_url=own_stack.redis_url, journeys=JOURNEYS
    ) as plant:
        await migrate(plant.runtime.database)
        await plant.staffed()
        people = {await plant.begin("walk", email): email for email in map(_address, range(PEOPLE))}
        await eventually(lambda: _sent(plant, "Welcome") >= 3)
        await _restart(own_stack)
        await _until(plant, lambda unfinished: _sent(plant, "Nudge") >= 3)
        await _restart(own_stack)
        await _until(plant, lambda unfinished: unfinished == 0)
        for email in people.values():
            plant.got(email, "Welcome", "Nudge", "Bye")
        assert not plant.worker.fell, plant.worker.output
        await send_event(plant.runtime, "two", email="late@example.com")
        await plant.until_row(
            "SELECT 1 FROM journey_states WHERE email = 'late@example.com' AND status = 'completed'"
        )


def _address(index: int) -> str:
    return f"p{index}@example.com"


def _sent(plant: Plant, word: str) -> int:
    return sum(sent.body["subject"].startswith(word) for sent in plant.resend.accepted)


async def _restart(stack: EmbeddedStack) -> None:
    pid = stack.postgres.pid
    assert pid is not None
    os.kill(pid, signal.SIGINT)
    await eventually(lambda: stack.postgres.pid is None)
    assert stack.revive() == ["postgres"]


async def _until(plant: Plant, holds: Callable[[int], bool]) -> None:
    """Until it holds of the number of unfinished runs.

    A slice that broke off leaves a lease of a minute, and its driver waits for so long: both are cut short here.
    """
    deadline = time.monotonic() + 180
    unfinished = PEOPLE
    while not holds(unfinished):
        assert not plant.worker.fell, plant.worker.output
        assert time.monotonic() < deadline, plant.told()
        with suppress(DBAPIError, OSError):
            async with plant.runtime.database.transaction() as conn:
                for table in (journey_states, email_sends):
                    await conn.execute(update(table).values(lease_until=None))
            left = await rows(plant.runtime, "SELECT id FROM journey_states WHERE status <> 'completed'")
            unfinished = len(left)
            for run in left:
                await plant.runtime.engine.wake_run(run.id, 0, "overdue")
        await asyncio.sleep(0.5)
