"""Streams by cursor: no gap and no double, whoever commits first and whatever Redis does."""

from __future__ import annotations

import asyncio
import random
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from hogsend.errors import InvalidInput
from hogsend.realtime import activity
from hogsend.realtime import bus as bus_module
from hogsend.realtime.bus import Bus, Interest
from hogsend.realtime.cursor import StreamCursor
from hogsend.realtime.streams import ActivityFilter, follow, head, read_after
from hogsend.realtime.tailer import Tailer
from hogsend.runtime import Runtime


async def write(runtime: Runtime, ref: UUID | None = None, kind: str = "event") -> UUID:
    ref = ref or uuid4()
    async with runtime.database.transaction() as conn:
        await activity.record(conn, at=runtime.clock.now(), kind=kind, type="received", ref_id=ref)
    return ref


async def read(runtime: Runtime, after: StreamCursor) -> list[UUID]:
    async with runtime.database.read() as conn:
        return [entry.ref_id for entry in await read_after(conn, ActivityFilter(), after)]


async def read_some(runtime: Runtime, after: StreamCursor, count: int) -> list[UUID]:
    """The same, once there are `count`: a transaction of another test's database on this server holds rows back too."""
    async with asyncio.timeout(10):
        while len(found := await read(runtime, after)) < count:
            await asyncio.sleep(0.01)
    return found


async def test_a_lower_transaction_that_commits_later_is_not_skipped(runtime: Runtime) -> None:
    async with runtime.database.read() as conn:
        start = await head(conn)
    late = uuid4()
    async with runtime.database.transaction() as slow:
        await activity.record(slow, at=runtime.clock.now(), kind="event", type="received", ref_id=late)
        quick = await write(runtime)
        assert await read(runtime, start) == []
    assert await read_some(runtime, start, 2) == [late, quick]


async def test_snapshot_and_stream_meet_exactly(runtime: Runtime) -> None:
    """A transaction was open when the snapshot was taken, a younger one was already in it."""
    late = uuid4()
    async with runtime.database.transaction() as slow:
        await activity.record(slow, at=runtime.clock.now(), kind="event", type="received", ref_id=late)
        seen = await write(runtime)
        async with runtime.database.read() as conn:
            await conn.execution_options(isolation_level="REPEATABLE READ")
            start = await head(conn)
            shown = (await conn.execute(text("SELECT ref_id FROM activity"))).scalars().all()
        assert shown == [seen]
    after = await write(runtime)
    assert await read_some(runtime, StreamCursor.decode(start.encode()), 2) == [late, after]


async def test_reconnecting_at_random_points_misses_and_repeats_nothing(runtime: Runtime) -> None:
    async with runtime.database.read() as conn:
        cursor = await head(conn)
    written: set[UUID] = set()
    rng = random.Random(11)

    async def writer(count: int) -> None:
        for _ in range(count):
            ref = uuid4()
            async with runtime.database.transaction() as conn:
                await activity.record(conn, at=runtime.clock.now(), kind="event", type="received", ref_id=ref)
                await asyncio.sleep(rng.random() * 0.004)
            written.add(ref)

    got: list[UUID] = []
    writers = asyncio.gather(*(writer(25) for _ in range(6)))
    while not writers.done() or len(got) < len(written):
        async with runtime.database.read() as conn:
            entries = await read_after(conn, ActivityFilter(), cursor, limit=rng.randint(1, 9))
        got += [entry.ref_id for entry in entries]
        if entries:
            cursor = StreamCursor.decode(entries[-1].cursor.encode())
        await asyncio.sleep(0)
    assert len(got) == len(set(got)) == 150
    assert set(got) == written


async def test_followers_hear_through_redis_and_without_it(runtime: Runtime) -> None:
    bus = Bus(runtime.redis)
    tasks = [asyncio.create_task(bus.run()), asyncio.create_task(Tailer(runtime.database, bus).run())]
    got: asyncio.Queue[UUID] = asyncio.Queue()

    async def listen() -> None:
        async for entries in follow(runtime.database, bus, ActivityFilter(kinds=("event",))):
            for entry in entries:
                got.put_nowait(entry.ref_id)

    listening = asyncio.create_task(listen())
    try:
        while not (bus.connected and bus._listeners):
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.1)
        first = await write(runtime)
        assert await asyncio.wait_for(got.get(), 3) == first
        tasks[0].cancel()
        await asyncio.gather(tasks[0], return_exceptions=True)
        bus.connected = False
        second = await write(runtime)
        assert await asyncio.wait_for(got.get(), 8) == second
    finally:
        for task in (*tasks, listening):
            task.cancel()
        await asyncio.gather(*tasks, listening, return_exceptions=True)


async def test_a_new_tailer_wakes_those_who_were_told_nothing(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came while no process led was hinted at to nobody."""
    monkeypatch.setattr(bus_module, "LOOKS", 0)
    monkeypatch.setattr(bus_module, "POLL_WITH_REDIS", 3600.0)
    bus = Bus(runtime.redis)
    receiving = asyncio.create_task(bus.run())
    while not bus.connected:
        await asyncio.sleep(0.005)
    with bus.listen(Interest(contact_id=str(uuid4()))) as wakeups:
        leading = asyncio.create_task(Tailer(runtime.database, bus).run())
        await asyncio.wait_for(wakeups.wait(), 30)
    for task in (leading, receiving):
        task.cancel()
    await asyncio.gather(leading, receiving, return_exceptions=True)


@pytest.mark.parametrize("bad", ["", "!!!", "MTIz", "x" * 300])
def test_a_made_up_cursor_is_an_input_error(bad: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        StreamCursor.decode(bad)
    assert caught.value.field == "after"
