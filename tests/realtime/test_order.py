"""The order of streams: what is committed is numbered, whatever else is open on the server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.errors import InvalidInput
from hogsend.realtime import activity, order
from hogsend.realtime.cursor import Snapshot, StreamCursor
from hogsend.realtime.entries import EVERYTHING, read_after
from hogsend.realtime.hub import Hub
from hogsend.realtime.order import number_all, number_new, read_head
from hogsend.realtime.start import begin, head
from hogsend.realtime.streams import follow
from hogsend.runtime import Runtime
from hogsend.storage.database import Database


async def append(conn: AsyncConnection, runtime: Runtime, ref: UUID | None = None) -> UUID:
    ref = ref or uuid4()
    await activity.record(conn, at=runtime.clock.now(), kind="event", type="received", ref_id=ref)
    return ref


async def write(runtime: Runtime) -> UUID:
    async with runtime.database.transaction() as conn:
        return await append(conn, runtime)


async def read(database: Database, after: int = 0) -> list[UUID]:
    await number_all(database)
    async with database.read() as conn:
        return [entry.ref_id for entry in await read_after(conn, EVERYTHING, after)]


@asynccontextmanager
async def open_transaction(url: str) -> AsyncIterator[None]:
    """One that has written, and stays open for the block, in the database of `url`."""
    conn = await asyncpg.connect(url)
    try:
        await conn.execute("BEGIN; SELECT pg_current_xact_id()")
        yield
        await conn.execute("ROLLBACK")
    finally:
        await conn.close()


async def test_an_open_transaction_holds_up_its_own_rows_alone(
    runtime: Runtime, database_url: str, postgres_url: str
) -> None:
    async with open_transaction(database_url), open_transaction(postgres_url):
        async with runtime.database.transaction() as slow:
            late = await append(slow, runtime)
            first = await write(runtime)
            assert await read(runtime.database) == [first]
            second = await write(runtime)
            assert await read(runtime.database) == [first, second]
        assert await read(runtime.database) == [first, second, late]


async def test_what_is_rolled_back_has_no_position(runtime: Runtime) -> None:
    async with runtime.database.engine.connect() as conn:
        await append(conn, runtime)
        await number_all(runtime.database)
        await conn.rollback()
    kept = await write(runtime)
    assert await read(runtime.database) == [kept]


async def test_one_transaction_is_told_in_the_order_of_its_writing(runtime: Runtime) -> None:
    async with runtime.database.transaction() as conn:
        refs = [await append(conn, runtime) for _ in range(5)]
    assert await read(runtime.database) == refs


async def test_two_that_number_at_once_give_no_position_twice(runtime: Runtime) -> None:
    refs = {await write(runtime) for _ in range(20)}
    async with runtime.database.engine.connect() as first, runtime.database.engine.connect() as second:
        assert await number_new(first) == 20
        waiting = asyncio.create_task(number_new(second))
        await asyncio.sleep(0.05)
        await first.commit()
        assert await waiting is None
        await second.commit()
    assert set(await read(runtime.database)) == refs


async def test_a_leader_that_dies_before_its_commit_leaves_nothing_behind(runtime: Runtime) -> None:
    ref = await write(runtime)
    async with runtime.database.engine.connect() as conn:
        assert await number_new(conn) == 1
        await conn.rollback()
    assert await read(runtime.database) == [ref]


async def test_a_long_backlog_is_numbered_in_parts_between_transactions(runtime: Runtime) -> None:
    """Some transactions end while the rest of the backlog is still to come."""
    refs: list[UUID] = []
    async with runtime.database.engine.connect() as slow, runtime.database.engine.connect() as slower:
        late = [await append(slow, runtime), await append(slower, runtime)]
        for size in (1, 4, 2, 1, 1, 6, 1):
            async with runtime.database.transaction() as conn:
                refs += [await append(conn, runtime) for _ in range(size)]
        rounds = 0
        async with runtime.database.each_alone() as conn:
            while await number_new(conn, batch=3) is not None:
                rounds += 1
                if rounds == 2:
                    await slow.commit()
        assert rounds > 3
        await slower.commit()
    told = await read(runtime.database)
    assert sorted(told, key=str) == sorted(refs + late, key=str)
    assert [ref for ref in told if ref in refs] == refs
    assert told[-1] == late[1]


async def test_a_database_that_was_restored_on_a_younger_server_goes_on(runtime: Runtime) -> None:
    first = await write(runtime)
    await number_all(runtime.database)
    async with runtime.database.transaction() as conn:
        await conn.execute(text("UPDATE activity_rounds SET snapshot = '99999999:99999999:'"))
    second = await write(runtime)
    assert await read(runtime.database) == [first, second]


async def test_a_round_costs_the_same_however_long_a_transaction_stays_open(
    runtime: Runtime, database_url: str
) -> None:
    """The pages of the log that a round touches while more and more is written behind an open transaction."""
    costs = []
    async with open_transaction(database_url), runtime.database.transaction() as slow:
        await append_many(slow, 5_000)
        for _ in range(3):
            async with runtime.database.transaction() as conn:
                await append_many(conn, 20_000)
            await number_all(runtime.database)
            await write(runtime)
            async with runtime.database.each_alone() as conn:
                await conn.execute(text("ANALYZE activity"))
                costs.append(await pages_of_a_round(conn))
    assert max(costs) < 20, costs


async def append_many(conn: AsyncConnection, rows: int) -> None:
    await conn.execute(
        text(
            "INSERT INTO activity (at, kind, type, ref_id)"
            " SELECT now(), 'event', 'received', gen_random_uuid() FROM generate_series(1, :rows)"
        ),
        {"rows": rows},
    )


async def pages_of_a_round(conn: AsyncConnection) -> int:
    statement = order._ROUND.bindparams(batch=order.BATCH, kept=order.KEPT_ROUNDS)
    literal = str(statement.compile(dialect=conn.dialect, compile_kwargs={"literal_binds": True}))
    explain = text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {literal}".replace(":", r"\:"))
    plan = (await conn.execute(explain)).scalar_one()
    return pages_of_the_log(plan[0]["Plan"])


def pages_of_the_log(node: dict[str, Any]) -> int:
    if node.get("Relation Name") == "activity":
        return int(node["Shared Hit Blocks"]) + int(node["Shared Read Blocks"])
    return sum(pages_of_the_log(each) for each in node.get("Plans", ()))


async def test_snapshot_and_stream_equal_a_fresh_read_under_concurrent_writers(runtime: Runtime) -> None:
    """Readers begin at random moments, with a list or without, and reconnect at random rows."""
    rng = random.Random(29)
    hub = Hub(runtime)
    running = asyncio.create_task(hub.run())
    written: list[UUID] = []
    writing = True

    async def writer() -> None:
        for _ in range(20):
            refs = []
            async with runtime.database.transaction() as conn:
                for _ in range(rng.randint(1, 3)):
                    refs.append(await append(conn, runtime))
                    await asyncio.sleep(rng.random() * 0.01)
            written.extend(refs)

    async def numbering() -> None:
        while True:
            async with runtime.database.each_alone() as conn:
                await number_new(conn, batch=rng.randint(1, 8))
            hub.wake()
            await asyncio.sleep(rng.random() * 0.01)

    async def reader() -> Sequence[UUID]:
        await asyncio.sleep(rng.random() * 0.3)
        async with runtime.database.read() as conn:
            await conn.execution_options(isolation_level="REPEATABLE READ")
            cursor = await head(conn)
            seen = list((await conn.execute(text("SELECT ref_id FROM activity"))).scalars())
        while writing or len(seen) < len(written):
            async with runtime.database.read() as conn:
                cursor = await begin(conn, StreamCursor.decode(cursor.encode()))
            some = rng.randint(1, 12)
            stream = follow(hub, EVERYTHING, cursor)
            try:
                async with asyncio.timeout(0.5):
                    async for batch, _ in stream:
                        for entry in batch[:some]:
                            seen.append(entry.ref_id)
                            cursor = entry.cursor
                            some -= 1
                        if some <= 0:
                            break
            except TimeoutError:
                pass
            await stream.aclose()  # type: ignore[attr-defined]
        return seen

    tailing = asyncio.create_task(numbering())
    readers = [asyncio.create_task(reader()) for _ in range(6)]
    await asyncio.gather(*(writer() for _ in range(5)))
    writing = False
    async with asyncio.timeout(30):
        told = await asyncio.gather(*readers)
    for task in (running, tailing):
        task.cancel()
    await asyncio.gather(running, tailing, return_exceptions=True)
    for seen in told:
        assert len(seen) == len(set(seen))
        assert set(seen) == set(written)


async def test_a_cursor_needs_no_snapshot_once_all_of_it_is_numbered(runtime: Runtime) -> None:
    await write(runtime)
    async with runtime.database.read() as conn:
        assert (await begin(conn, None)).shown is not None
    await number_all(runtime.database)
    async with runtime.database.read() as conn:
        assert await begin(conn, None) == StreamCursor(1)


async def test_a_cursor_from_ahead_of_the_log_is_refused(runtime: Runtime) -> None:
    async with runtime.database.read() as conn:
        with pytest.raises(InvalidInput, match="ahead of the activity log"):
            await begin(conn, StreamCursor(5))
        with pytest.raises(InvalidInput, match="ahead of the activity log"):
            await begin(conn, StreamCursor(0, "9999999:9999999:"))


def test_a_snapshot_shows_what_had_ended() -> None:
    shown = Snapshot.parse("10:14:10,12")
    assert [txid for txid in range(8, 16) if shown.shows(txid)] == [8, 9, 11, 13]
    assert shown.is_covered_by(Snapshot.parse("12:15:12"))
    assert not shown.is_covered_by(Snapshot.parse("12:14:12"))
    assert shown.is_covered_by(Snapshot.parse("10:14:10,12"))


async def test_the_head_is_read_in_one_statement(runtime: Runtime) -> None:
    await write(runtime)
    await number_all(runtime.database)
    async with runtime.database.read() as conn:
        found = await read_head(conn)
    assert found.pos == 1
    assert found.now.xmax >= found.numbered.xmax
