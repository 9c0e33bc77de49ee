"""Many runs that only sleep."""

from __future__ import annotations

import asyncio
import os
from uuid import UUID

import pytest

from tests.driving import rows
from tests.engine.plant import Plant
from tests.engine.worker_process import eventually

pytestmark = pytest.mark.asyncio(loop_scope="package")

SLEEPERS = int(os.environ.get("HOGSEND_SLEEPERS", "120"))
FIRST = 60


async def test_sleepers_take_no_memory_of_a_worker(plant: Plant) -> None:
    """HOGSEND_SLEEPERS says how many. On Hatchet their drivers leave the worker after five seconds."""
    await asleep(plant, FIRST)
    before = plant.worker.memory
    await asleep(plant, SLEEPERS)
    if plant.standin is not None:
        drivers = plant.standin.memory.of("journey-run")
        await eventually(lambda: all(each.status == "evicted" for each in drivers if each.alive), within=120)
    grown = plant.worker.memory - before
    assert grown < 12_000_000 + 500 * SLEEPERS, f"{grown} bytes for {SLEEPERS}"
    assert await rows(plant.runtime, "SELECT 1 FROM journey_states WHERE lease_owner IS NOT NULL") == []


async def asleep(plant: Plant, people: int) -> None:
    """So many more are in bed."""
    runs: list[UUID] = []
    for first in range(0, people, 50):
        some = range(first, min(first + 50, people))
        runs += await asyncio.gather(*(plant.begin("doze", plant.somebody()) for _ in some))
    await plant.until_all_parked(runs, "sleep:300d#1", within=60 + people / 10)
