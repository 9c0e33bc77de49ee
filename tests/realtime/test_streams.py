"""Streams by cursor: no gap and no double, whoever commits first and whatever Redis and the tailer do."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from hogsend.errors import InvalidInput
from hogsend.realtime import activity, bus, hub
from hogsend.realtime.cursor import StreamCursor
from hogsend.realtime.entries import ActivityFilter
from hogsend.realtime.hub import Feed
from hogsend.realtime.live import Live
from hogsend.realtime.start import begin
from hogsend.realtime.streams import follow
from hogsend.realtime.tailer import LEADER_LOCK
from hogsend.runtime import Runtime
from hogsend.storage.stopping import stop


async def write(runtime: Runtime, kind: str = "event", contact_id: UUID | None = None) -> UUID:
    ref = uuid4()
    async with runtime.database.transaction() as conn:
        await activity.record(
            conn, at=runtime.clock.now(), kind=kind, type="received", ref_id=ref, contact_id=contact_id
        )
    return ref


@asynccontextmanager
async def following(
    runtime: Runtime, selection: ActivityFilter | None = None, after: StreamCursor | None = None
) -> AsyncIterator[asyncio.Queue[UUID]]:
    """What a stream that begins now, or at `after`, tells."""
    live = runtime.part(Live)
    told: asyncio.Queue[UUID] = asyncio.Queue()
    async with live.hub.reading() as conn:
        cursor = await begin(conn, after)
    began = asyncio.Event()

    async def listen() -> None:
        stream = follow(live.hub, selection or ActivityFilter(), cursor)
        began.set()
        async for entries, _ in stream:
            for entry in entries:
                told.put_nowait(entry.ref_id)

    listening = asyncio.create_task(listen())
    await began.wait()
    try:
        yield told
    finally:
        await stop(listening)


async def heard(told: asyncio.Queue[UUID]) -> UUID:
    async with asyncio.timeout(15):
        return await told.get()


async def test_followers_hear_through_redis_and_without_it(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with following(runtime) as told:
        first = await write(runtime)
        assert await heard(told) == first

        async def lost(*_: object) -> None:
            raise ConnectionError

        monkeypatch.setattr(runtime.part(Live).hub.bus, "publish", lost)
        second = await write(runtime)
        assert await heard(told) == second


async def test_a_process_goes_on_where_no_tailer_numbers(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody holds the lock and does nothing: a leader that is frozen."""
    monkeypatch.setattr(bus, "POLL_WITH_REDIS", 0.1)
    async with runtime.database.engine.connect() as frozen:
        await frozen.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LEADER_LOCK})
        async with following(runtime) as told:
            written = [await write(runtime), await write(runtime)]
            assert [await heard(told), await heard(told)] == written
        await frozen.execute(text("SELECT pg_advisory_unlock_all()"))


async def test_each_hears_what_it_asked_for(runtime: Runtime) -> None:
    ada, bob = uuid4(), uuid4()
    async with (
        following(runtime, ActivityFilter(contact_id=ada)) as of_ada,
        following(runtime, ActivityFilter(kinds=("audit",))) as audits,
        following(runtime) as all_of_it,
    ):
        written = [
            await write(runtime, contact_id=ada),
            await write(runtime, contact_id=bob),
            await write(runtime, kind="audit"),
        ]
        assert [await heard(all_of_it) for _ in written] == written
        assert await heard(of_ada) == written[0]
        assert await heard(audits) == written[2]
        assert of_ada.empty()
        assert audits.empty()


async def test_a_stream_that_falls_behind_reads_on_from_postgres(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "LONGEST_QUEUE", 3)
    waiting = asyncio.Event()
    took = Feed.take

    async def slowly(self: Feed) -> object:
        await waiting.wait()
        return await took(self)

    monkeypatch.setattr(Feed, "take", slowly)
    async with following(runtime) as told:
        written = [await write(runtime) for _ in range(12)]
        await asyncio.sleep(0.3)
        waiting.set()
        assert [await heard(told) for _ in written] == written


@pytest.mark.parametrize("bad", ["", "!!!", "MTIz", "x" * 300])
def test_a_made_up_cursor_is_an_input_error(bad: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        StreamCursor.decode(bad)
    assert (caught.value.field, caught.value.code) == ("after", "INVALID_CURSOR")


def test_a_cursor_of_before_is_refused_in_words() -> None:
    for plain in ("1234.5", "1234.0~1234:1240:1234,1236"):
        old = base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")
        with pytest.raises(InvalidInput, match="of an earlier version of Hogsend"):
            StreamCursor.decode(old)


def test_a_cursor_comes_back_as_it_was() -> None:
    for cursor in (StreamCursor(0), StreamCursor(17), StreamCursor(17, "5:9:5,7")):
        assert StreamCursor.decode(cursor.encode()) == cursor
