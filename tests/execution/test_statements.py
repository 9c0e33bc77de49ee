"""How many statements an event and a slice cost: as many for one journey that listens as for three."""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from hogsend import Context, Journey, User, days, journey
from hogsend.clock import ManualClock
from hogsend.execution.advance import advance
from hogsend.execution.due_runs import due_runs
from hogsend.runtime import Runtime
from hogsend.storage.metadata import new_id
from hogsend.tables.journeys import journey_states
from tests.driving import drive, rows, send_event, statements, statuses
from tests.fixtures.journeys import RunningWith


def waiting_for(name: str) -> Journey:
    """It starts with `start`, waits for `go`, and ends with `stop`."""

    @journey(id=name, trigger="start", exit_on="stop")
    async def wait(user: User, ctx: Context) -> None:
        await ctx.wait_for_event("go", timeout=days(1))
        await ctx.sleep(days(1))

    return wait


@journey(id="sleeper", trigger="start")
async def sleeper(user: User, ctx: Context) -> None:
    await ctx.sleep(days(1))


async def cost(runtime: Runtime, event: str, email: str) -> int:
    with statements(runtime.database) as seen:
        await send_event(runtime, event, email=email)
    return len(seen)


@pytest.mark.parametrize(("event", "statements_of_it"), [("start", 12), ("go", 14), ("stop", 14)])
async def test_an_event_costs_the_same_however_many_journeys_it_moves(
    running: RunningWith, event: str, statements_of_it: int
) -> None:
    costs: list[int] = []
    for count in (1, 3):
        async with running(*(waiting_for(f"listener-{number}") for number in range(count))) as runtime:
            email = f"{event}-{count}@example.com"
            if event != "start":
                await send_event(runtime, "start", email=email)
                await drive(runtime)
            costs.append(await cost(runtime, event, email))
            moved = await rows(
                runtime,
                "SELECT count(*) AS n FROM decisions d JOIN user_events e ON e.id = d.event_id"
                " JOIN contacts c ON c.id = e.contact_id WHERE e.name = :event AND c.email = :email",
                event=event,
                email=email,
            )
            assert moved[0].n == count
    assert costs == [statements_of_it, statements_of_it]


async def test_a_slice_to_a_sleep_costs_nine_statements(running: RunningWith, clock: ManualClock) -> None:
    async with running(sleeper) as runtime:
        await send_event(runtime, "start")
        (run_id,) = await due_runs(runtime, 10)
        with statements(runtime.database) as seen:
            await advance(runtime, run_id, "w")
        assert len(seen) == 9, seen
        assert await statuses(runtime) == ["waiting"]


async def test_the_log_tells_each_entry_before_the_verdict_on_it(running: RunningWith) -> None:
    async with running(*(waiting_for(name) for name in ("a", "b", "c"))) as runtime:
        await send_event(runtime, "start")
        await drive(runtime)
        await send_event(runtime, "stop")
        log = await rows(
            runtime,
            "SELECT kind, type, journey_id FROM activity WHERE type IN"
            " ('received', 'entered', 'enrolled', 'exited') ORDER BY txid, seq",
        )
    entries = [(row.journey_id, row.kind, row.type) for row in log]
    received = (None, "event", "received")
    for begin, move, verdict in ((0, "entered", "enrolled"), (7, "exited", "exited")):
        told = entries[begin : begin + 7]
        order = [told[at][0] for at in (1, 3, 5)]
        assert sorted(order) == ["a", "b", "c"]
        assert told == [
            received,
            *(line for name in order for line in ((name, "state", move), (name, "decision", verdict))),
        ]


async def test_one_run_that_a_constraint_refuses_keeps_nobody_else_out(
    running: RunningWith, clock: ManualClock
) -> None:
    """The key of a former life: a run of somebody else's holds this person's `once`, which no guard can see."""
    async with running(*(waiting_for(name) for name in ("a", "b", "c"))) as runtime:
        person = (await send_event(runtime, "seen")).contact_id
        other = (await send_event(runtime, "seen", email="other@example.com")).contact_id
        now = clock.now()
        ended = {"id": new_id(), "journey_id": "b", "contact_id": other, "email": "x", "version": "v"}
        async with runtime.database.transaction() as conn:
            await conn.execute(
                insert(journey_states).values(
                    **ended, status="completed", entry_key=f"b:{person}", created_at=now, updated_at=now
                )
            )
        result = await send_event(runtime, "start")
        verdicts = [(e.journey_id, e.enrolled, e.reason.value) for e in result.enrollments]
        assert verdicts == [
            ("a", True, "trigger_matched"),
            ("b", False, "already_entered"),
            ("c", True, "trigger_matched"),
        ]
        begun = await rows(
            runtime,
            "SELECT journey_id FROM journey_states WHERE contact_id = :id ORDER BY journey_id",
            id=person,
        )
        assert [row.journey_id for row in begun] == ["a", "c"]
        hinted = await rows(
            runtime,
            "SELECT s.journey_id FROM outbox o LEFT JOIN journey_states s ON s.id::text = o.payload ->> 'run_id'"
            " WHERE o.topic = 'run.start' ORDER BY o.id",
        )
        assert [row.journey_id for row in hinted] == ["a", "c"]
