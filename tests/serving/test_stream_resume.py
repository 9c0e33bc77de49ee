"""Streams are resumed behind the cursor that a client had, whatever its variables say."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from hogsend.runtime import Runtime
from tests.realtime.test_timeline_stream import events, tell
from tests.serving.socket import Socket, open_socket
from tests.serving.streams import EVENTS, name_of, opened


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
