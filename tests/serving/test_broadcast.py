"""One execution for all who ask alike, each of whom still hears everything behind their own cursor, once."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
from graphql.execution.collect_fields import FieldDetails
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.graphql.context import Context
from hogsend.realtime.cursor import StreamCursor
from hogsend.runtime import Runtime
from hogsend.serving import broadcast, ws
from hogsend.serving.broadcast import Broadcast
from hogsend.serving.stream_limits import StreamLimits
from hogsend.serving.subscriber import StreamMessage
from tests.faults.site import eventually
from tests.realtime.test_timeline_stream import tell
from tests.serving.socket import open_socket
from tests.serving.streams import EVENTS, OTHER, cursor_of, name_of, opened


async def test_equal_subscriptions_share_one_execution(
    live_server: str, client: httpx.AsyncClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[StreamMessage] = []
    making = broadcast.message_of

    def counted(*arguments: Any) -> StreamMessage:
        made.append(making(*arguments))
        return made[-1]

    monkeypatch.setattr(broadcast, "message_of", counted)
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(open_socket(live_server)) for _ in range(5)]
        for socket in sockets:
            await socket.init()
            for operation in ("a", "b"):
                await socket.subscribe(operation, EVENTS)
            await socket.subscribe("other", OTHER)
        await opened(runtime, 15)
        assert len(runtime.part(Broadcast)._groups) == 2
        await tell(client, "one")
        await tell(client, "two")
        for socket in sockets:
            heard = [await socket.receive() for _ in range(6)]
            for operation in ("a", "b", "other"):
                names = [name_of(m["payload"]["data"]) for m in heard if m["id"] == operation]
                assert names == ["one", "two"]
    assert len(made) == 4

    async def forgotten() -> bool:
        return not runtime.part(Broadcast)._groups and not runtime.part(StreamLimits).streams

    assert await eventually(forgotten)


async def test_who_is_behind_catches_up_alone_and_then_joins(
    live_server: str, client: httpx.AsyncClient, runtime: Runtime
) -> None:
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("first", EVENTS)
        await opened(runtime, 1)
        await tell(client, "one")
        first = cursor_of(await socket.next("first"))
        start = StreamCursor(StreamCursor.decode(first).pos - 1).encode()
        await socket.send(id="first", type="complete")
        await tell(client, "two")
        await socket.subscribe("late", EVENTS)
        await opened(runtime, 1)
        await socket.subscribe("behind", EVENTS, after=start)
        assert [name_of(await socket.next("behind")) for _ in range(2)] == ["one", "two"]
        await opened(runtime, 2)
        await tell(client, "three")
        heard = {
            (m["id"], name_of(m["payload"]["data"])) for m in (await socket.receive(), await socket.receive())
        }
        assert heard == {("late", "three"), ("behind", "three")}
        assert len(runtime.part(Broadcast)._groups) == 1


async def test_who_joins_hears_what_the_group_told_behind_their_cursor(
    live_server: str, client: httpx.AsyncClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group keeps its last messages; what it has dropped is read from Postgres."""
    monkeypatch.setattr(broadcast, "KEPT_MESSAGES", 3)
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("0", EVENTS)
        await opened(runtime, 1)
        cursors = []
        for number in range(6):
            await tell(client, f"event-{number}")
            cursors.append(cursor_of(await socket.next("0")))
        for number, cursor in enumerate(cursors[:-1]):
            await socket.subscribe(f"from-{number}", EVENTS, after=cursor)
            told = [name_of(await socket.next(f"from-{number}")) for _ in range(5 - number)]
            assert told == [f"event-{later}" for later in range(number + 1, 6)]
        await opened(runtime, 6)
        await tell(client, "last")
        heard = [await socket.receive() for _ in range(6)]
        assert len({m["id"] for m in heard}) == 6
        assert {name_of(m["payload"]["data"]) for m in heard} == {"last"}


async def test_other_variables_and_other_scopes_are_other_groups(
    live_server: str, client: httpx.AsyncClient, runtime: Runtime
) -> None:
    document = "subscription ($name: String) { eventReceived(filter: {name: $name}) { event { name } } }"
    made = (await client.post("/v1/admin/api-keys", json={"name": "reader", "scopes": ["read"]})).json()
    async with open_socket(live_server) as admin, open_socket(live_server) as reader:
        await admin.init()
        await reader.init(made["key"])
        await admin.subscribe("1", document, name="one")
        await admin.subscribe("2", document, name="two")
        await reader.subscribe("1", document, name="one")
        await opened(runtime, 3)
        assert len(runtime.part(Broadcast)._groups) == 3
        await tell(client, "two")
        await tell(client, "one")
        assert name_of(await admin.next("2")) == "two"
        assert name_of(await admin.next("1")) == "one"
        assert name_of(await reader.next("1")) == "one"


async def test_a_cursor_variable_that_is_used_elsewhere_too_parts_the_groups(
    live_server: str, client: httpx.AsyncClient, runtime: Runtime
) -> None:
    document = (
        "subscription ($after: String) { eventReceived(after: $after) { cursor event { contact { timeline(first: 1,"
        " after: $after) { totalCount } } } } }"
    )
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("now", EVENTS)
        await opened(runtime, 1)
        await tell(client, "one")
        cursor = cursor_of(await socket.next("now"))
        await socket.subscribe("1", document)
        await socket.subscribe("2", document, after=cursor)
        await opened(runtime, 3)
        assert len(runtime.part(Broadcast)._groups) == 3


async def test_who_leaves_in_the_middle_of_a_message_takes_nothing_from_others(
    live_server: str, client: httpx.AsyncClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two documents show one entry with one read; the one that began to read is gone before it has its answer."""
    connecting, held, go_on = Context.connection, asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def waiting(self: Context) -> AsyncIterator[AsyncConnection]:
        if self.streaming:
            held.set()
            await go_on.wait()
        async with connecting(self) as conn:
            yield conn

    async with open_socket(live_server) as first, open_socket(live_server) as second:
        for socket, document in ((first, EVENTS), (second, OTHER)):
            await socket.init()
            await socket.subscribe("1", document)
            await opened(runtime, 1)
        await opened(runtime, 2)
        monkeypatch.setattr(Context, "connection", waiting)
        await tell(client, "one")
        await asyncio.wait_for(held.wait(), 10)
        await first.send(id="1", type="complete")

        async def left() -> int:
            return len(runtime.part(Broadcast)._groups)

        assert await eventually(left, lambda groups: groups == 1) == 1
        go_on.set()
        assert name_of(await second.next("1")) == "one"


async def test_a_stream_keeps_nothing_of_the_messages_it_has_executed(
    live_server: str, client: httpx.AsyncClient, runtime: Runtime
) -> None:
    def fields() -> int:
        gc.collect()
        return sum(isinstance(each, FieldDetails) for each in gc.get_objects())

    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("1", EVENTS)
        await opened(runtime, 1)
        await tell(client, "first")
        await socket.next("1")
        before = fields()
        for number in range(10):
            await tell(client, str(number))
            await socket.next("1")
        assert fields() <= before + 5


async def test_what_one_readers_connection_raises_reaches_nobody_else(
    live_server: str, client: httpx.AsyncClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing = ws._Operation.next

    async def broken(self: ws._Operation, message: StreamMessage) -> None:
        if "broken" in self._prefix:
            raise RuntimeError
        await writing(self, message)

    monkeypatch.setattr(ws._Operation, "next", broken)
    async with open_socket(live_server) as socket:
        await socket.init()
        for operation in ("broken", "whole"):
            await socket.subscribe(operation, EVENTS)
        await opened(runtime, 2)
        for name in ("one", "two"):
            await tell(client, name)
            assert name_of(await socket.next("whole")) == name
