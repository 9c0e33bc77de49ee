"""The watchdog of runs that Hatchet drives: what is late is called again, and the drivers of the dead are replaced."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

from sqlalchemy import update

from hogsend import days
from hogsend.clock import ManualClock
from hogsend.engine.liveness import sign_in
from hogsend.execution.external_engine import note_driver, run_slice
from hogsend.execution.overdue_runs import redrive_overdue, some_overdue
from hogsend.runtime import Runtime
from hogsend.tables.journeys import journey_states
from tests.driving import drive, rows
from tests.engine.one_run import enrolled, generation, starts


async def test_lost_runs_are_called_again_at_growing_intervals(runtime: Runtime, clock: ManualClock) -> None:
    await enrolled(runtime)
    await drive(runtime)
    clock.advance(days(1))
    assert await redrive_overdue(runtime) == 0
    called = []
    for minute in range(1, 70):
        clock.advance(timedelta(minutes=1))
        if await redrive_overdue(runtime):
            called.append(minute)
    # A driver that did not come in eight minutes is replaced; the new one is called a minute later.
    assert called == [1, 2, 4, 8, 9, 16, 17, 32, 33, 64, 65]
    wakes = await rows(runtime, "SELECT payload FROM outbox WHERE topic = 'run.wake'")
    assert {wake.payload["reason"] for wake in wakes} == {"overdue"}
    assert await generation(runtime) == 4
    assert await starts(runtime) == [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    await drive(runtime)
    assert await redrive_overdue(runtime) == 0


async def test_the_driver_of_a_dead_worker_is_replaced_within_a_minute(
    runtime: Runtime, clock: ManualClock
) -> None:
    """Hatchet takes the driver for running, so calling it is in vain; its worker's heartbeat says otherwise."""
    run_id = await enrolled(runtime)
    await drive(runtime)
    await note_driver(dataclasses.replace(runtime, owner="host:1:dead"), run_id, 0)
    clock.advance(days(1))
    assert not await some_overdue(runtime)
    seconds = {}
    for second in range(1, 61):
        clock.advance(timedelta(seconds=1))
        if await some_overdue(runtime) and await redrive_overdue(runtime):
            seconds[second] = await generation(runtime)
    # Called first: it may only be evicted. Then replaced; the new driver's process is not known to be dead.
    assert seconds == {10: 0, 25: 1, 60: 1}
    assert await starts(runtime) == [0, 0, 1, 1]
    (cancelled,) = await rows(runtime, "SELECT payload FROM outbox WHERE topic = 'run.cancel'")
    assert cancelled.payload["run_id"] == str(run_id)


async def test_the_driver_of_a_worker_that_lives_is_not_replaced_so_soon(
    runtime: Runtime, clock: ManualClock
) -> None:
    run_id = await enrolled(runtime)
    await drive(runtime)
    async with runtime.database.engine.connect() as session:
        await sign_in(session, "host:1:lives")
        await note_driver(dataclasses.replace(runtime, owner="host:1:lives"), run_id, 0)
        clock.advance(days(1) + timedelta(seconds=59))
        assert await some_overdue(runtime)
        assert await redrive_overdue(runtime) == 0
        await session.run_sync(lambda conn: conn.detach())
    # Its session ended, and its heartbeat with it.
    assert await redrive_overdue(runtime) == 1


async def test_a_driver_of_another_generation_is_not_noted(runtime: Runtime) -> None:
    run_id = await enrolled(runtime)
    await note_driver(runtime, run_id, 1)
    assert [row.driver_owner for row in await rows(runtime, "SELECT driver_owner FROM journey_states")] == [
        None
    ]
    await note_driver(runtime, run_id, 0)
    (row,) = await rows(runtime, "SELECT driver_owner FROM journey_states")
    assert row.driver_owner == runtime.owner


async def test_runs_that_somebody_holds_are_left_alone(runtime: Runtime, clock: ManualClock) -> None:
    run_id = await enrolled(runtime)
    clock.advance(timedelta(minutes=5))
    assert await redrive_overdue(runtime) == 1
    async with runtime.database.transaction() as conn:
        await conn.execute(update(journey_states).values(lease_until=clock.wall() + timedelta(minutes=9)))
    clock.advance(timedelta(minutes=8))
    assert await redrive_overdue(runtime) == 0
    assert (await run_slice(runtime, run_id, 0)).wait == timedelta(minutes=1)
