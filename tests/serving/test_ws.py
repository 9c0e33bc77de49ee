"""GraphQL over WebSocket: the protocol, message by message."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from pytest import MonkeyPatch
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from hogsend.serving import ws
from tests.conftest import ADMIN_KEY
from tests.serving.socket import open_socket

TIMELINE = 'subscription { contactTimeline(by: { externalId: "ada" }) { kind } }'


async def test_queries_run_over_the_socket(live_server: str) -> None:
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("1", "{ viewer { name } }")
        assert await socket.next("1") == {"viewer": {"name": "legacy"}}
        assert await socket.receive() == {"id": "1", "type": "complete"}
        await socket.subscribe("1", "{ viewer { name } }")
        assert await socket.next("1") == {"viewer": {"name": "legacy"}}


async def test_the_header_opens_it_too(live_server: str) -> None:
    async with connect(
        live_server.replace("http", "ws", 1) + "/graphql",
        subprotocols=[Subprotocol(ws.PROTOCOL)],
        additional_headers={"Authorization": f"Bearer {ADMIN_KEY}"},
    ) as raw:
        await raw.send('{"type": "connection_init"}')
        assert json.loads(await raw.recv()) == {"type": "connection_ack"}


async def test_pings_are_answered(live_server: str) -> None:
    async with open_socket(live_server) as socket:
        await socket.send(type="ping")
        assert await socket.receive() == {"type": "pong"}
        await socket.init()
        await socket.send(type="pong")
        await socket.send(type="ping", payload={"any": 1})
        assert await socket.receive() == {"type": "pong"}


async def test_an_operation_that_cannot_run_gets_an_error_and_the_socket_stays(live_server: str) -> None:
    async with open_socket(live_server) as socket:
        await socket.init()
        for query, message in (
            ("{", "Syntax Error: Expected Name, found <EOF>."),
            ("{ nothing }", "Cannot query field 'nothing' on type 'Query'."),
            (TIMELINE, "Contact not found"),
        ):
            await socket.subscribe("x", query)
            answer = await socket.receive()
            assert (answer["type"], answer["id"]) == ("error", "x")
            assert [error["message"] for error in answer["payload"]] == [message]
        await socket.subscribe("x", "{ viewer { name } }")
        assert await socket.next("x") == {"viewer": {"name": "legacy"}}


async def test_another_protocol_is_not_spoken(live_server: str) -> None:
    async with open_socket(live_server, "graphql-ws") as socket:
        assert (await socket.closed())[0] == 4406


async def test_subscribing_before_the_acknowledgement(live_server: str) -> None:
    async with open_socket(live_server) as socket:
        await socket.subscribe("1", "{ viewer { name } }")
        assert await socket.closed() == (4401, "Unauthorized")


async def test_a_wrong_key(live_server: str) -> None:
    async with open_socket(live_server) as socket:
        await socket.send(type="connection_init", payload={"authorization": "Bearer wrong"})
        assert await socket.closed() == (4403, "Unauthorized")


async def test_no_initialisation_in_time(live_server: str, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(ws, "INIT_SECONDS", 0.05)
    async with open_socket(live_server) as socket:
        assert (await socket.closed())[0] == 4408


async def test_initialising_twice(live_server: str) -> None:
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.send(type="connection_init")
        assert (await socket.closed())[0] == 4429


async def test_an_id_in_use(live_server: str, client: httpx.AsyncClient) -> None:
    await client.post("/v1/events", json={"name": "seen", "userId": "ada"})
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("1", TIMELINE)
        await socket.subscribe("1", TIMELINE)
        assert await socket.closed() == (4409, "Subscriber for 1 already exists")


@pytest.mark.parametrize(
    "message",
    ["not JSON", "[]", "{}", '{"type": "shout"}', '{"type": "subscribe"}', '{"type": "subscribe", "id": ""}'],
)
async def test_a_message_that_is_none(live_server: str, message: str) -> None:
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.raw.send(message)
        assert (await socket.closed())[0] == 4400


async def test_a_revoked_key_closes_its_sockets(live_server: str, client: httpx.AsyncClient) -> None:
    made = (await client.post("/v1/admin/api-keys", json={"name": "dashboard", "scopes": ["read"]})).json()
    await client.post("/v1/events", json={"name": "seen", "userId": "ada"})
    async with open_socket(live_server) as socket:
        await socket.init(made["key"])
        await socket.subscribe("1", TIMELINE)
        await client.delete(f"/v1/admin/api-keys/{made['id']}")
        async with asyncio.timeout(2.5):
            assert await socket.closed() == (4403, "Unauthorized")


async def test_a_socket_opens_no_more_than_its_key_does(live_server: str, client: httpx.AsyncClient) -> None:
    made = (await client.post("/v1/admin/api-keys", json={"name": "reader", "scopes": ["read"]})).json()
    async with open_socket(live_server) as socket:
        await socket.init(made["key"])
        await socket.subscribe("1", 'mutation { journeyDisable(input: { id: "x" }) { userErrors { code } } }')
        answer = await socket.receive()
        assert answer["payload"] == [{"message": "Insufficient scope", "extensions": {"code": "FORBIDDEN"}}]
