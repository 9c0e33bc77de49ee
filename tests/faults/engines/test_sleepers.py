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

SLEEPERS = int(os.environ.get("HOGSEND_SLEEPERS", "100"))
WAVE = 500


async def test_sleepers_take_no_memory_of_a_worker(plant: Plant) -> None:
    """HOGSEND_SLEEPERS says how many. They come in waves: for the first one a worker may grow, and then no more."""
    await asleep(plant, min(SLEEPERS, WAVE))
    before = plant.worker.memory
    for first in range(0, SLEEPERS, WAVE):
        await asleep(plant, min(SLEEPERS - first, WAVE))
    grown = plant.worker.memory - before
    assert grown < 16_000_000, f"{grown} bytes for {SLEEPERS}"
    assert await rows(plant.runtime, "SELECT 1 FROM journey_states WHERE lease_owner IS NOT NULL") == []


async def asleep(plant: Plant, people: int) -> None:
    """So many more are in bed, and the drivers that the stand-in has are out of the worker, as after five seconds."""
    runs: list[UUID] = []
    for first in range(0, people, 50):
        some = range(first, min(first + 50, people))
        runs += await asyncio.gather(*(plant.begin("doze", plant.somebody()) for _ in some))
    await plant.until_all_parked(runs, "sleep:300d#1", within=60 + people / 10)
    if plant.standin is not None:
        drivers = [run for run in plant.standin.memory.of("journey-run") if run.alive]
        await eventually(lambda: all(driver.status == "evicted" for driver in drivers), within=120)
