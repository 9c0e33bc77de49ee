"""Workers that die, that are deployed anew, whose clock is wrong. Each test replaces the plant's worker."""

from __future__ import annotations

import asyncio
import os
import time
from uuid import UUID

import pytest

from hogsend.operations.stuck_runs import resume_in
from tests.driving import rows, send_event
from tests.engine.plant import Plant
from tests.engine.worker_process import eventually
from tests.standins.http import Hold

pytestmark = pytest.mark.asyncio(loop_scope="package")

# Inside a send and at its edge, as a run is parked and ended, and as the outbox is delivered.
FEW = ("after_provider_call", "after_suspend", "before_complete", "before_outbox_marked")
DAILY = FEW[:1]
MORE = (
    "after_claim",
    "after_prepare:send:welcome#1",
    "before_provider_call",
    "after_send_recorded",
    "after_step:send:welcome#1",
    "after_arm:sleep:12h#1",
    "after_step:sleep:12h#1",
    "after_arm:wait:activated#1",
    "after_call:once:coupon#1",
    "after_step:once:coupon#1",
    "after_step:checkpoint:after-wait#1",
    "after_prepare:send:nudge#1",
    "after_step:send:bye#1",
    "after_complete",
)
ON_HATCHET = ("after_slice",)
A_DAY = 86_400
KILLS = int(os.environ.get("HOGSEND_KILLS", "1"))


@pytest.mark.parametrize("points", [DAILY, pytest.param(FEW, marks=pytest.mark.slow)], ids=["daily", "few"])
async def test_workers_that_kill_themselves_at_every_edge_and_inside_it(
    plant: Plant, points: tuple[str, ...]
) -> None:
    """A worker for each point, all at once; people come until the last one died. HOGSEND_ALL_CRASHES: every point.

    HOGSEND_KILLS says how many are killed at no point, but some time.
    When a worker goes on, everybody gets what a quiet run sends.
    """
    points += ("sometime",) * KILLS
    if "HOGSEND_ALL_CRASHES" in os.environ:
        points = FEW + MORE if plant.engine == "embedded" else FEW + MORE + ON_HATCHET
    plant.worker.kill()
    people: dict[UUID, str] = {}
    with plant.odd_worker(ODD_DIES_AT=",".join(points)) as dying:
        deadline = time.monotonic() + 180
        while dying.lives:
            assert time.monotonic() < deadline, dying.output + plant.told()
            for email in [plant.somebody() for _ in range(2 if people else 2 * len(points))]:
                people[await plant.enroll("walk", email)] = email
            await asyncio.sleep(1)
    await plant.staffed()
    # On a real Hatchet some drivers go down with their workers; the watchdog replaces them within a minute.
    await plant.until_all(people, "status = 'completed'", within=240)
    for email in people.values():
        plant.got(email, "Welcome", "Nudge", "Bye")


@pytest.mark.slow
async def test_a_deploy_changes_the_code_under_parked_runs(plant: Plant) -> None:
    """They are told of before they wake, blocked when they do, and go on when the earlier code is back."""
    ada = plant.somebody()
    run_id = await plant.begin("walk", ada, patience=300)
    await plant.until_parked(run_id, "wait:activated#1")
    assert await plant.worker.stop() == 0
    await plant.staffed(HOGSEND_JOURNEYS="tests.faults.engines.changed")
    await eventually(lambda: "deploy_would_stop_parked_runs" in plant.worker.output)
    await send_event(plant.runtime, "activated", email=ada)
    await plant.until(run_id, "status = 'blocked' AND ended_reason = 'code_changed'")
    (letter,) = await rows(
        plant.runtime, "SELECT error FROM dead_letters WHERE source_id = :id", id=str(run_id)
    )
    assert "send:welcome#1" in letter.error
    assert plant.subjects(ada) == ["Welcome"]
    plant.worker.kill()
    await plant.staffed()
    async with plant.runtime.database.transaction() as conn:
        await resume_in(conn, plant.runtime, run_id)
    await plant.until(run_id, "status = 'completed'")
    plant.got(ada, "Welcome", "Congrats", "Bye")


@pytest.mark.slow
async def test_a_worker_is_a_day_ahead_and_the_next_a_day_behind(plant: Plant) -> None:
    """The first is killed in the middle of a send, and leaves a lease of tomorrow. Nothing is lost or out of order."""
    plant.worker.kill()
    plant.resend.faults.append(Hold())
    people = {}
    with plant.odd_worker(ODD_CLOCK_OFF=str(A_DAY)) as ahead:
        for email in [plant.somebody() for _ in range(3)]:
            people[await plant.enroll("walk", email)] = email
        await eventually(lambda: any(plant.subjects(email) for email in people.values()), within=60)
        ahead.kill()
    with plant.odd_worker(ODD_CLOCK_OFF=str(-A_DAY)) as behind:
        ada = plant.somebody()
        people[await plant.enroll("walk", ada)] = ada
        await plant.until_row(
            "SELECT 1 FROM crons WHERE name = 'heartbeat' AND last_run_at < now() - interval '12 hours'"
        )
        behind.kill()
    await plant.staffed()
    await plant.until_all(people, "status = 'completed'")
    for email in people.values():
        plant.got(email, "Welcome", "Nudge", "Bye")
