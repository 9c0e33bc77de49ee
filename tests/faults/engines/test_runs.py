"""Runs on a worker that lives: delivered twice, ended from outside, woken in the wrong moment."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from uuid import UUID

import pytest

from hogsend.execution.advance import advance
from hogsend.operations.cancel import cancel
from tests.driving import rows, send_event
from tests.engine.plant import Plant
from tests.engine.worker_process import eventually
from tests.standins.http import Hold

pytestmark = pytest.mark.asyncio(loop_scope="package")

RACES = int(os.environ.get("HOGSEND_RACES", "48"))


async def test_a_run_that_is_delivered_twice_is_driven_once(plant: Plant) -> None:
    """Hatchet hands each task over twice, and this process advances the same runs again and again."""
    if plant.standin is not None:
        plant.standin.deliver_twice = True
    try:
        people = [plant.somebody() for _ in range(4)]
        runs = [await plant.begin("walk", email) for email in people]

        async def also_here(run_id: UUID) -> None:
            while (await advance(plant.runtime, run_id, plant.runtime.owner)).state != "done":
                await asyncio.sleep(0.05)

        await asyncio.gather(*(also_here(run_id) for run_id in runs))
        await plant.until_all(runs, "status = 'completed'")
    finally:
        if plant.standin is not None:
            plant.standin.deliver_twice = False
    for email in people:
        plant.got(email, "Welcome", "Nudge", "Bye")


async def test_a_run_that_sleeps_or_waits_is_ended_by_an_exit(plant: Plant) -> None:
    people = {step: plant.somebody() for step in ("sleep:300d#1", "wait:activated#1")}
    runs = {step: await plant.begin("stay", people[step], **{"in": step.split(":")[0]}) for step in people}
    for step, run_id in runs.items():
        await plant.until_parked(run_id, step)
        await send_event(plant.runtime, "left", email=people[step])
    await plant.until_all(runs.values(), "status = 'exited' AND ended_reason = 'exit_event'")
    if plant.standin is not None:
        await eventually(lambda: not any(plant.driver(run_id).alive for run_id in runs.values()))
    for email in people.values():
        await send_event(plant.runtime, "activated", email=email)
        plant.got(email, "Welcome")


@pytest.mark.parametrize("how", ["an exit", "an operator"])
async def test_a_run_is_ended_while_its_email_is_on_the_wire(plant: Plant, how: str) -> None:
    """The engine cancels, and the task goes on: what was sent is recorded, and nothing follows it."""
    ada = plant.somebody()
    await plant.settled()
    answer = asyncio.Event()
    plant.resend.faults.append(Hold(answer))
    run_id = await plant.begin("two", ada)
    await eventually(lambda: plant.subjects(ada))
    if how == "an exit":
        await send_event(plant.runtime, "left", email=ada)
    else:
        await cancel(plant.runtime, run_id)
    answer.set()
    await plant.until_row("SELECT 1 FROM email_sends WHERE state_id = :id AND status = 'sent'", id=run_id)
    state = await plant.state(run_id)
    assert (state.status, state.ended_at is None) == ("exited", False)
    steps = await rows(plant.runtime, "SELECT key, status FROM journey_steps WHERE state_id = :id", id=run_id)
    assert [(step.key, step.status) for step in steps] == [("send:welcome#1", "done")]
    plant.got(ada, "Welcome")


async def test_fifty_triggers_at_once_are_one_run(plant: Plant) -> None:
    ada = plant.somebody()
    results = await asyncio.gather(*(send_event(plant.runtime, "two", email=ada) for _ in range(50)))
    (run_id,) = (each.state_id for result in results for each in result.enrollments if each.enrolled)
    assert run_id is not None
    await plant.until(run_id, "status = 'completed'")
    plant.got(ada, "Welcome", "Bye")
    verdicts = await rows(
        plant.runtime, "SELECT kind FROM decisions WHERE contact_id = :id", id=results[0].contact_id
    )
    assert Counter(verdict.kind for verdict in verdicts) == {
        "enrolled": 1,
        "skipped": 49,
        "send": 2,
        "sent": 2,
        "completed": 1,
    }


async def test_an_event_that_races_the_wait_for_it_is_never_lost(plant: Plant) -> None:
    """Before the run starts, during the send before the wait, as the run parks, after; once, twice or three times.

    HOGSEND_RACES says how many.
    """
    rng = random.Random(7)

    async def race(index: int) -> UUID:
        email = plant.somebody()
        run_id = await plant.begin("start", email)

        async def push() -> None:
            if index % 4:
                await asyncio.sleep(rng.random() * 0.12)
            await send_event(plant.runtime, "go", email=email)

        await asyncio.gather(*(push() for _ in range(1 + index % 3)))
        return run_id

    runs: list[UUID] = []
    for batch in range(0, RACES, 16):
        runs += await asyncio.gather(*(race(index) for index in range(batch, min(batch + 16, RACES))))
    await plant.until_all(runs, "status = 'completed'", within=60 + RACES / 10)
    assert await reached(plant, runs) == {"event": RACES}
    woken = await rows(
        plant.runtime,
        "SELECT count(*) AS n, count(DISTINCT state_id) AS runs FROM decisions"
        " WHERE state_id = ANY(:ids) AND reason = 'event_arrived'",
        ids=runs,
    )
    assert [(each.n, each.runs) for each in woken] == [(RACES, RACES)]


async def test_an_event_at_the_instant_of_the_timeout_counts_if_it_was_in_time(plant: Plant) -> None:
    rng = random.Random(11)
    for batch in range(0, RACES // 2, 24):
        await _instants(plant, min(24, RACES // 2 - batch), rng)


async def _instants(plant: Plant, races: int, rng: random.Random) -> None:
    people = [plant.somebody() for _ in range(races)]
    runs = await asyncio.gather(*(plant.begin("appoint", email) for email in people))
    armed = "EXISTS (SELECT 1 FROM journey_steps WHERE state_id = journey_states.id)"
    await plant.until_all(runs, armed)
    steps = await rows(
        plant.runtime,
        "SELECT state_id, deadline FROM journey_steps WHERE state_id = ANY(:ids) AND kind = 'wait'",
        ids=runs,
    )
    deadlines = {step.state_id: step.deadline for step in steps}
    clock = plant.runtime.clock

    async def race(email: str, run_id: UUID) -> tuple[UUID, set[str]]:
        """What may come of it: before the event was sent or after it was stored, only one thing."""
        ahead = clock.real(deadlines[run_id] - clock.now()).total_seconds()
        await asyncio.sleep(max(0.0, ahead + (rng.random() - 0.5) * 0.1))
        before = clock.now()
        await send_event(plant.runtime, "go", email=email)
        if clock.now() <= deadlines[run_id]:
            return run_id, {"event"}
        return run_id, {"timeout"} if before > deadlines[run_id] else {"event", "timeout"}

    fair = dict(await asyncio.gather(*map(race, people, runs)))
    await plant.until_all(runs, "status = 'completed'")
    ends = await rows(
        plant.runtime, "SELECT id, current_node FROM journey_states WHERE id = ANY(:ids)", ids=runs
    )
    unfair = [(end.id, end.current_node) for end in ends if end.current_node not in fair[end.id]]
    assert not unfair


async def reached(plant: Plant, runs: list[UUID]) -> Counter[str]:
    ends = await rows(plant.runtime, "SELECT current_node FROM journey_states WHERE id = ANY(:ids)", ids=runs)
    return Counter(end.current_node for end in ends)


async def test_what_authors_write_that_is_odd(plant: Plant) -> None:
    """Code that raises, returns early, swallows every exception, and sends one template twice; one person has all."""
    ada = plant.somebody()
    result = await send_event(plant.runtime, "odd", email=ada)
    runs = [each.state_id for each in result.enrollments if each.state_id is not None]
    await plant.until_all(runs, "status IN ('completed', 'failed')")
    ends = await rows(
        plant.runtime, "SELECT journey_id, status, error FROM journey_states WHERE id = ANY(:ids)", ids=runs
    )
    assert {end.journey_id: end.status for end in ends} == {
        "raises": "failed",
        "returns-early": "completed",
        "swallows": "completed",
        "repeats": "completed",
    }
    assert [end.error.split(" (")[0] for end in ends if end.error] == ["KeyError: 'plan'"]
    letters = await rows(
        plant.runtime,
        "SELECT 1 FROM dead_letters WHERE source_id = ANY(:ids)",
        ids=[str(run) for run in runs],
    )
    assert len(letters) == 1
    assert Counter(plant.subjects(ada)) == {"Welcome": 1, "Nudge": 2, "Bye": 2}
