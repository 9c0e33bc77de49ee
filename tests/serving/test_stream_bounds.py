"""Streams are bounded: readers that are slow, streams and sockets that are many, openings at once, revoked keys."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from hogsend.graphql.context import Context
from hogsend.runtime import Runtime
from hogsend.serving import broadcast, subscriber, ws
from hogsend.serving.broadcast import Broadcast
from hogsend.serving.stream_limits import StreamLimits
from hogsend.serving.subscriber import StreamMessage
from tests.faults.site import eventually
from tests.realtime.test_timeline_stream import events, tell
from tests.serving.socket import open_socket
from tests.serving.streams import EVENTS, OTHER, cursor_of, name_of, opened


async def test_a_reader_that_is_slow_holds_up_nobody_else_and_goes_with_its_cursor(
    live_server: str, client: httpx.AsyncClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriber, "LONGEST_BACKLOG", 2)
    stuck: list[ws._Operation] = []
    writing = ws._Operation.next

    async def sometimes(self: ws._Operation, message: StreamMessage) -> None:
        if "slow" in self._prefix and '"stop"' not in message.text and '"one"' not in message.text:
            stuck.append(self)
            await asyncio.Event().wait()
        await writing(self, message)

    monkeypatch.setattr(ws._Operation, "next", sometimes)
    async with open_socket(live_server) as slow, open_socket(live_server) as quick:
        for socket, operation in ((slow, "slow"), (quick, "quick")):
            await socket.init()
            await socket.subscribe(operation, EVENTS)
        await opened(runtime, 2)
        for name in ("one", "two", "three", "four", "five"):
            await tell(client, name)
            assert name_of(await quick.next("quick")) == name
        taken = cursor_of(await slow.next("slow"))
        assert await slow.closed() == (1013, f"SLOW_CONSUMER {taken}")
    assert len(stuck) == 1


async def test_streams_of_a_key_and_sockets_of_an_address_are_limited_in_words(
    live_server: str, client: httpx.AsyncClient, runtime: Runtime
) -> None:
    runtime.settings.streams_per_key = 2
    async with open_socket(live_server) as socket:
        await socket.init()
        for number in range(3):
            await socket.subscribe(str(number), EVENTS)
        answer = await socket.receive()
        assert (answer["type"], answer["id"]) == ("error", "2")
        assert answer["payload"][0] == {
            "message": "A key has at most 2 streams open in one process",
            "extensions": {"code": "THROTTLED", "retryAfter": 30},
        }
        sse = await client.post("/graphql", json={"query": EVENTS}, headers={"Accept": "text/event-stream"})
        assert (sse.status_code, sse.headers["retry-after"]) == (429, "30")
        await socket.send(id="0", type="complete")

        async def room() -> bool:
            return runtime.part(StreamLimits).streams < 2

        assert await eventually(room)
        runtime.settings.sockets_per_address = 1
        async with open_socket(live_server) as second:
            code, reason = await second.closed()
            assert (code, reason) == (
                1013,
                "THROTTLED: An address has at most 1 sockets open in one process; retryAfter=30",
            )


async def test_opening_waits_its_turn_and_says_when_to_come_back(
    live_server: str, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "OPENING_SECONDS", 0.2)
    slots = runtime.part(Broadcast)._opening
    taken = [await slots.acquire() for _ in range(broadcast.OPENINGS_AT_A_TIME)]
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("1", EVENTS)
        answer = await socket.receive()
        assert answer["payload"][0]["extensions"] == {"code": "THROTTLED", "retryAfter": 5}
        for _ in taken:
            slots.release()
        await socket.subscribe("1", EVENTS)
        await opened(runtime, 1)


async def test_many_streams_open_at_once_and_none_is_told_that_the_database_is_away(
    live_server: str, client: httpx.AsyncClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [EVENTS, OTHER, *(f"{OTHER} # {number}" for number in range(20))]
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(open_socket(live_server)) for _ in range(4)]
        for socket in sockets:
            await socket.init()
        await asyncio.gather(
            *(
                socket.subscribe(str(number), document)
                for socket in sockets
                for number, document in enumerate(documents)
            )
        )
        await opened(runtime, len(sockets) * len(documents))
        await tell(client, "all")
        for socket in sockets:
            heard = [await socket.receive() for _ in documents]
            assert {m["type"] for m in heard} == {"next"}


async def test_a_revoked_key_ends_server_sent_events_too(live_server: str, client: httpx.AsyncClient) -> None:
    made = (await client.post("/v1/admin/api-keys", json={"name": "dashboard", "scopes": ["read"]})).json()
    await tell(client, "begin")
    async with events(live_server, key=made["key"]) as stream:
        await client.delete(f"/v1/admin/api-keys/{made['id']}")
        async with asyncio.timeout(2.5):
            name, data = await anext(stream)
        assert (name, data["errors"][0]["extensions"]["code"]) == ("next", "UNAUTHENTICATED")
        assert await anext(stream) == ("complete", None)


async def test_a_stream_reads_with_the_streams_share_of_connections(
    live_server: str, client: httpx.AsyncClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: set[bool] = set()
    connecting = Context.connection

    def noted(self: Context) -> Any:
        used.add(self.streaming)
        return connecting(self)

    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("1", EVENTS)
        await opened(runtime, 1)
        monkeypatch.setattr(Context, "connection", noted)
        await tell(client, "one")
        await socket.next("1")
    assert used == {True}
