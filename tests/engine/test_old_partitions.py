"""A month of events that lies behind the horizon is dropped whole; nobody who writes waits for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from hogsend.clock import ManualClock
from hogsend.engine.retention import forget_old
from hogsend.events.partitions import months_from
from hogsend.runtime import Runtime
from hogsend.storage.metadata import new_id
from tests.driving import rows

KEPT_DAYS = 40
MONTHS = ("p202001", "p202002", "p202003")


@pytest.fixture
async def months(runtime: Runtime, clock: ManualClock) -> AsyncIterator[None]:
    """January to March of 2020, an event on each first day, one of 2019 in the default partition; it is 31 March."""
    clock.set(datetime(2020, 3, 31, tzinfo=UTC))
    runtime.settings.retention_events = KEPT_DAYS
    async with runtime.database.transaction() as conn:
        for start, end in months_from(datetime(2020, 1, 1, tzinfo=UTC), 3):
            await conn.execute(
                text(
                    f"CREATE TABLE user_events_p{start:%Y%m} PARTITION OF user_events"
                    f" FOR VALUES FROM ('{start.isoformat()}') TO ('{end.isoformat()}')"
                )
            )
    for at in (
        datetime(2019, 5, 1, tzinfo=UTC),
        *(start for start, _ in months_from(datetime(2020, 1, 1), 3)),
    ):
        await write(runtime, at)
    yield
    async with runtime.database.transaction() as conn:
        for month in MONTHS:
            await conn.execute(text(f"DROP TABLE IF EXISTS user_events_{month}"))


async def write(runtime: Runtime, at: datetime) -> None:
    async with runtime.database.transaction() as conn:
        await conn.execute(text("SET LOCAL lock_timeout = '5s'"))
        await conn.execute(
            text("INSERT INTO user_events (id, occurred_at, name, received_at) VALUES (:id, :at, 'e', :at)"),
            {"id": new_id(), "at": at},
        )


async def partitions(runtime: Runtime) -> list[str]:
    found = await rows(
        runtime,
        "SELECT relname FROM pg_class WHERE relname ~ '^user_events_p2020' AND relkind = 'r' ORDER BY 1",
    )
    return [row.relname.removeprefix("user_events_") for row in found]


async def left(runtime: Runtime) -> list[str]:
    found = await rows(runtime, "SELECT occurred_at FROM user_events ORDER BY 1")
    return [f"{row.occurred_at:%Y-%m}" for row in found]


@pytest.mark.usefixtures("months")
async def test_a_month_behind_the_horizon_is_dropped_and_others_lose_rows_alone(runtime: Runtime) -> None:
    await forget_old(runtime)
    # 40 days before 31 March is 20 February: that month is not behind it as a whole.
    assert await partitions(runtime) == ["p202002", "p202003"]
    assert await left(runtime) == ["2020-03"]


@pytest.mark.usefixtures("months")
async def test_who_writes_is_not_waited_for_and_does_not_wait(runtime: Runtime, clock: ManualClock) -> None:
    async with runtime.database.transaction() as conn:
        await conn.execute(text("LOCK TABLE user_events IN ROW EXCLUSIVE MODE"))
        await forget_old(runtime)
        await write(runtime, clock.now() - timedelta(days=1))
        assert await partitions(runtime) == list(MONTHS)
        assert await left(runtime) == ["2020-03", "2020-03"], "the rows went one by one"
    await forget_old(runtime)
    assert await partitions(runtime) == ["p202002", "p202003"]


@pytest.mark.usefixtures("months")
async def test_for_ever_drops_nothing(runtime: Runtime) -> None:
    runtime.settings.retention_events = 0
    await forget_old(runtime)
    assert await partitions(runtime) == list(MONTHS)
    assert len(await left(runtime)) == 4
