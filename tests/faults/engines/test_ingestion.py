"""Events and the runs that they start, while something between the door and the worker is broken."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from datetime import timedelta
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import insert

from hogsend.app import create_app
from hogsend.engine.outbox import RUN_START, publish_later
from hogsend.events.event import NewEvent
from hogsend.ingestion.ingest import ingest
from hogsend.tables.engine import outbox
from tests.driving import Crashed, rows, send_event, watching
from tests.engine.plant import Plant

pytestmark = pytest.mark.asyncio(loop_scope="package")

BURST = int(os.environ.get("HOGSEND_BURST", "40"))
MERGES = 8


async def test_a_crash_between_commit_and_publish_is_made_up_for_once(plant: Plant) -> None:
    """The API dies when the event is stored; `test_worker_lives` kills publishers before they note what they did."""
    ada = plant.somebody()

    def die(point: str) -> None:
        if point == "after_ingest_commit":
            raise Crashed(point)

    with watching(plant.runtime, die), pytest.raises(Crashed):
        await send_event(plant.runtime, "two", email=ada)
    (run,) = await rows(plant.runtime, "SELECT id FROM journey_states WHERE email = :email", email=ada)
    await plant.until(run.id, "status = 'completed'")
    plant.got(ada, "Welcome", "Bye")
    if plant.standin is not None:
        assert len(plant.drivers(run.id)) == 1


async def test_a_hundred_identical_keys_at_once_are_one_run(plant: Plant) -> None:
    ada = plant.somebody()
    event = NewEvent(name="two", email=ada, idempotency_key=uuid4().hex)
    results = await asyncio.gather(*(ingest(plant.runtime, event) for _ in range(100)))
    assert sorted(result.stored for result in results) == [False] * 99 + [True]
    runs = await rows(plant.runtime, "SELECT id FROM journey_states WHERE email = :email", email=ada)
    assert len(runs) == 1
    await plant.until(runs[0].id, "status = 'completed'")
    plant.got(ada, "Welcome", "Bye")


@pytest.mark.parametrize("hours", [-800 * 24, -1, 1], ids=["backdated", "an hour behind", "an hour ahead"])
async def test_what_a_run_waits_for_counts_when_it_arrives(plant: Plant, hours: int) -> None:
    """Whatever its sender's clock says; out of order, too."""
    ada = plant.somebody()
    run_id = await plant.begin("start", ada)
    said = plant.runtime.clock.now() + timedelta(hours=hours)
    await ingest(plant.runtime, NewEvent(name="go", email=ada, occurred_at=said))
    await plant.until(run_id, "status = 'completed' AND current_node = 'event'")


async def test_poison_blocks_nobody_behind_it(plant: Plant) -> None:
    """Rows of the outbox that cannot be delivered, and an event whose journey raises, with people behind them."""
    runtime = plant.runtime
    async with runtime.database.transaction() as conn:
        for payload in ({"run_id": "poison", "generation": 0}, {}):
            await publish_later(conn, runtime.clock, RUN_START, payload)
        wall = runtime.clock.wall()
        unheard_of = insert(outbox).values(topic="unheard.of", payload={}, created_at=wall, available_at=wall)
        await conn.execute(unheard_of)
    await send_event(runtime, "odd", email=plant.somebody())
    people = [plant.somebody() for _ in range(5)]
    runs = [await plant.begin("two", email) for email in people]
    await plant.until_all(runs, "status = 'completed'")
    for email in people:
        plant.got(email, "Welcome", "Bye")
    stuck = "published_at IS NULL AND attempts > 0 AND error IS NOT NULL"
    await plant.until_row(f"SELECT 1 FROM outbox WHERE {stuck} HAVING count(*) = 3")
    async with runtime.database.transaction() as conn:
        await conn.execute(outbox.delete().where(outbox.c.published_at.is_(None)))


async def test_a_merge_races_events_of_its_two_halves_and_their_live_run(plant: Plant) -> None:
    """One half stands in a journey, the other does what it waits for, and they turn out to be one person."""
    rng = random.Random(5)

    async def race() -> tuple[str, UUID]:
        email, external_id = plant.somebody(), uuid4().hex
        run_id = await plant.begin("start", email)
        await ingest(plant.runtime, NewEvent(name="seen", external_id=external_id))
        events = [
            NewEvent(name="signed.in", external_id=external_id, email=email),
            NewEvent(name="go", external_id=external_id),
            NewEvent(name="visited", email=email),
        ]
        rng.shuffle(events)
        await asyncio.gather(*(ingest(plant.runtime, event) for event in events))
        return email, run_id

    raced = await asyncio.gather(*(race() for _ in range(MERGES)))
    await plant.until_all([run_id for _, run_id in raced], "status = 'completed' AND current_node = 'event'")
    for email, run_id in raced:
        plant.got(email, "Welcome")
        owner = (await plant.state(run_id)).contact_id
        events = await rows(
            plant.runtime, "SELECT name FROM user_events WHERE contact_id = :id ORDER BY name", id=owner
        )
        assert [event.name for event in events] == ["go", "seen", "signed.in", "start", "visited"]


async def test_a_burst_while_nobody_works_is_taken_in_and_handled_after(plant: Plant) -> None:
    """The stand-in for Hatchet is down; on other engines the worker was killed. HOGSEND_BURST says how many."""
    app = create_app(plant.runtime.settings, plant.runtime)
    key = plant.runtime.settings.admin_api_key
    assert key is not None
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://localhost",
        headers={"Authorization": f"Bearer {key.get_secret_value()}"},
        timeout=60,
    ) as client:

        async def post(email: str) -> int:
            return (await client.post("/v1/events", json={"name": "two", "email": email})).status_code

        people = [plant.somebody() for _ in range(BURST)]
        if plant.standin is not None:
            plant.standin.down()
        else:
            plant.worker.kill()
        codes: set[int] = set()
        for first in range(0, BURST, 100):
            codes |= set(await asyncio.gather(*map(post, people[first : first + 100])))
    assert codes == {202}
    if plant.standin is not None:
        failed = "topic = 'run.start' AND attempts > 0 AND published_at IS NULL"
        await plant.until_row(f"SELECT 1 FROM outbox WHERE {failed}")
        plant.standin.up()
    else:
        await plant.staffed()
    runs = await rows(
        plant.runtime, "SELECT id FROM journey_states WHERE email = ANY(:people)", people=people
    )
    assert len(runs) == BURST
    await plant.until_all([run.id for run in runs], "status = 'completed'", within=120 + BURST / 10)
    for email in people:
        plant.got(email, "Welcome", "Bye")
    if plant.standin is not None:
        drivers = Counter(run.input["run_id"] for run in plant.standin.memory.of("journey-run"))
        assert {drivers[str(run.id)] for run in runs} == {1}
