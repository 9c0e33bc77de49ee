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
from hogsend.serving import broadcast, subscriber, ws
from hogsend.serving.broadcast import Broadcast
from hogsend.serving.stream_limits import StreamLimits
from hogsend.serving.subscriber import StreamMessage
from tests.faults.site import eventually
from tests.realtime.test_timeline_stream import events, tell
from tests.serving.socket import Socket, open_socket

EVENTS = "subscription ($after: String) { eventReceived(after: $after) { cursor event { name } } }"
OTHER = "subscription ($after: String) { eventReceived(after: $after) { event { name } } }"


async def opened(runtime: Runtime, streams: int) -> None:
    """Until so many streams are open and followed."""

    async def followed() -> bool:
        groups = runtime.part(Broadcast)._groups.values()
        return sum(len(group._subscribers) for group in groups if group.begun.is_set()) >= streams

    assert await eventually(followed)


def name_of(data: dict[str, Any]) -> str:
    return str(data["eventReceived"]["event"]["name"])


def cursor_of(data: dict[str, Any]) -> str:
    return str(data["eventReceived"]["cursor"])


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


async def test_heartbeats_and_the_cursors_of_those_who_resume(
    live_server: str, client: httpx.AsyncClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hogsend.serving.heartbeat.BEAT_SECONDS", 0.05)
    async with open_socket(live_server) as plain:
        await plain.init()
        assert await plain.receive() == {"type": "ping"}
    async with open_socket(live_server) as resuming:
        await greet(resuming, {})
        await resuming.subscribe("op", EVENTS)
        while True:
            message = await resuming.receive()
            if message["type"] == "ping" and message["payload"]["cursors"]:
                break
        begun = message["payload"]["cursors"]["op"]
    await tell(client, "while away")
    async with open_socket(live_server) as again:
        await greet(again, {"op": begun})
        await again.subscribe("op", EVENTS)
        assert name_of(await answered(again)) == "while away"


async def greet(socket: Socket, resume: dict[str, str]) -> None:
    from tests.conftest import ADMIN_KEY

    await socket.send(
        type="connection_init", payload={"authorization": f"Bearer {ADMIN_KEY}", "resume": resume}
    )
    assert await socket.receive() == {"type": "connection_ack"}


async def answered(socket: Socket) -> dict[str, Any]:
    """The data of the next answer, whatever pings come before."""
    while (message := await socket.receive())["type"] == "ping":
        pass
    assert message["type"] == "next", message
    data: dict[str, Any] = message["payload"]["data"]
    return data


async def test_a_client_that_resends_its_old_variables_misses_nothing(
    live_server: str, client: httpx.AsyncClient, runtime: Runtime
) -> None:
    """As graphql-ws does after a dropped socket: the same operation, the same id, the variables of the beginning."""
    async with open_socket(live_server) as socket:
        await greet(socket, {})
        await socket.subscribe("op", EVENTS)
        await opened(runtime, 1)
        await tell(client, "one")
        while (message := await socket.receive())["type"] == "ping":
            pass
        cursor = message["payload"]["extensions"]["cursor"]
    await tell(client, "in the gap")
    async with open_socket(live_server) as socket:
        await greet(socket, {"op": cursor, "another": "which never comes"})
        await socket.subscribe("op", EVENTS)
        assert name_of(await answered(socket)) == "in the gap"
        await socket.send(
            id="x", type="subscribe", payload={"query": EVENTS, "extensions": {"after": cursor}}
        )
        assert name_of(await answered(socket)) == "in the gap"
        await tell(client, "live")
        assert {name_of(await answered(socket)) for _ in range(2)} == {"live"}


@pytest.mark.parametrize("resume", [[], "x", {"op": 1}])
async def test_a_resume_that_is_none_closes_the_socket_in_words(live_server: str, resume: Any) -> None:
    async with open_socket(live_server) as socket:
        await socket.send(type="connection_init", payload={"resume": resume})
        assert await socket.closed() == (
            4400,
            "`payload.resume` must be an object of cursors by operation id",
        )


async def test_an_extension_that_is_no_cursor_is_refused(live_server: str, client: httpx.AsyncClient) -> None:
    sse = {"Accept": "text/event-stream"}
    for after, status, message in (
        (7, 422, "`extensions.after` must be a cursor"),
        ("nonsense", 422, "after must be a cursor that this stream gave out"),
    ):
        answer = await client.post(
            "/graphql", json={"query": EVENTS, "extensions": {"after": after}}, headers=sse
        )
        assert (answer.status_code, answer.json()["errors"][0]["message"]) == (status, message)


async def test_server_sent_events_resume_by_their_ids(live_server: str, client: httpx.AsyncClient) -> None:
    await tell(client, "begin")
    entry = (
        await client.post(
            "/graphql",
            json={
                "query": '{ contact(by: {externalId: "ada"}) { timeline(first: 1) { nodes { cursor } } } }'
            },
        )
    ).json()["data"]["contact"]["timeline"]["nodes"][0]
    await tell(client, "one")
    await tell(client, "two")
    async with events(live_server, after=entry["cursor"]) as stream:
        _, data = await anext(stream)
        assert data["data"]["contactTimeline"]["event"]["name"] == "one"
        last = data["extensions"]["cursor"]
    async with events(live_server, last_event_id=last, after=entry["cursor"]) as stream:
        _, data = await anext(stream)
        assert data["data"]["contactTimeline"]["event"]["name"] == "two"


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
