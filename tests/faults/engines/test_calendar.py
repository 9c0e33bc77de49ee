"""Sleeps across the year's end, a leap day and the night of a change of the clocks, and waits of forty days.

Product time runs a million times as fast, from the eve of 2028 to the spring.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from sqlalchemy import text

from hogsend.boot import open_runtime
from hogsend.clock import ManualClock, SystemClock
from hogsend.events.event import NewEvent
from hogsend.execution.advance import advance
from hogsend.ingestion.ingest import ingest
from hogsend.settings import Settings
from tests.driving import rows, send_event
from tests.engine.plant import ENGINES, TEMPLATES, Plant, open_plant
from tests.faults.engines.conftest import JOURNEYS
from tests.servers import create_database

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVE = datetime(2027, 12, 30, 14, tzinfo=UTC)
SPEED = 1_000_000.0
# Whose sleep it is, how many days it is over, at what time of the day, and when that is.
SLEEPS = [
    ("Asia/Kolkata", 2, "00:15", "2027-12-31T18:45"),
    ("Europe/Brussels", 61, "09:00", "2028-02-29T08:00"),
    ("America/New_York", 73, "02:30", "2028-03-12T07:30"),
    ("America/New_York", 74, "09:00", "2028-03-13T13:00"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ENGINES)
async def asleep(
    request: pytest.FixtureRequest, postgres_url: str, redis_url: str
) -> AsyncIterator[tuple[Plant, dict[UUID, datetime]]]:
    """A plant whose time begins on the eve, with people asleep since then; no worker is there yet.

    On Hatchet a second stands for the seven days after which it cuts a wait.
    """
    database_url = await create_database(postgres_url, f"calendar_{uuid4().hex[:8]}")
    parked = await _go_to_bed(database_url, redis_url)
    async with open_plant(
        request.param,
        database_url=database_url,
        redis_url=redis_url,
        journeys=JOURNEYS,
        speed=SPEED,
        module="tests.engine.odd_worker",
    ) as plant:
        plant.worker.start(ODD_LONGEST_WAIT="1")
        yield plant, parked


async def _go_to_bed(database_url: str, redis_url: str) -> dict[UUID, datetime]:
    settings = Settings(
        database_url=database_url,
        redis_url=redis_url,
        email_provider="memory",
        hatchet_client_token=None,
        journeys=JOURNEYS,
        templates=[TEMPLATES],
    )
    parked = {}
    async with open_runtime(settings, clock=ManualClock(EVE)) as runtime:
        for number, (zone, days_ahead, at, until) in enumerate(SLEEPS):
            event = NewEvent(
                name="until",
                email=f"s{number}@example.com",
                properties={"days": days_ahead, "at": at},
                contact_properties={"timezone": zone},
            )
            (enrollment,) = (await ingest(runtime, event)).enrollments
            assert enrollment.state_id is not None
            await advance(runtime, enrollment.state_id, "test")
            parked[enrollment.state_id] = datetime.fromisoformat(until).replace(tzinfo=UTC)
        wall = SystemClock().wall()
        async with runtime.database.transaction() as conn:
            await conn.execute(
                text(
                    "INSERT INTO clock (id, anchor_wall, anchor_product, speed, seen_product, noted_at)"
                    " VALUES (1, :wall, :eve, :speed, :eve, :wall)"
                ),
                {"wall": wall, "eve": EVE, "speed": SPEED},
            )
    return parked


@pytest.mark.slow
async def test_sleeps_and_waits_end_when_people_would_say_they_do(
    asleep: tuple[Plant, dict[UUID, datetime]],
) -> None:
    """Two more people come, and wait for forty days: to one it happens. Hatchet cuts their waits several times."""
    plant, parked = asleep
    never, early = [await plant.begin("forty", plant.somebody()) for _ in range(2)]
    await plant.until_all_parked([never, early], "wait:go#1")
    await send_event(plant.runtime, "go", email=(await plant.state(early)).email)
    await plant.until(early, "status = 'completed' AND current_node = 'event'")
    await plant.until(never, "status = 'completed' AND current_node = 'timeout'")
    (step,) = await rows(
        plant.runtime,
        "SELECT opened_at, closed_at, deadline FROM journey_steps WHERE state_id = :id AND kind = 'wait'",
        id=never,
    )
    # The window and the row were written one statement after the other.
    assert timedelta(0) <= timedelta(days=40) - (step.deadline - step.opened_at) < timedelta(days=5)
    assert step.closed_at >= step.deadline
    if plant.standin is not None:
        waits = [node for node in plant.driver(never).log.values() if node.conditions is not None]
        assert len(waits) >= 3

    await plant.until_all(parked, "status = 'completed'")
    steps = await rows(
        plant.runtime,
        "SELECT s.state_id, s.deadline, n.result AS woke FROM journey_steps s"
        " JOIN journey_steps n ON n.state_id = s.state_id AND n.kind = 'now' WHERE s.kind = 'sleep'",
    )
    assert {step.state_id: step.deadline for step in steps} == parked
    assert all(datetime.fromisoformat(step.woke) >= step.deadline for step in steps)
