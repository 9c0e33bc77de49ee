"""Whom the server answers: a page elsewhere that points a name of its own here gets nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.types import Message
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from hogsend.app import create_app
from hogsend.runtime import Runtime
from hogsend.serving.hosts import AllowedHosts, host_of, is_loopback
from hogsend.settings import Settings, SettingsError, load_settings
from tests.conftest import ADMIN_KEY

EVIL = "evil.example.com"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A developer's own, as `hogsend dev` makes it."""
    return settings.model_copy(update={"dev": True, "public_url": ""})


@asynccontextmanager
async def asking(settings: Settings, runtime: Runtime) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(settings, runtime))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:3002") as client:
        yield client


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("localhost", "localhost"),
        ("LocalHost:3002", "localhost"),
        ("a.example.", "a.example"),
        ("127.0.0.1:1", "127.0.0.1"),
        ("[::1]:3002", "::1"),
        ("[::1]", "::1"),
        ("", None),
        ("::1", None),
        ("[::1", None),
        ("[::1]x", None),
        ("localhost:3002.evil.example", None),
        ("localhost@evil.example", None),
        ("evil.example/localhost", None),
        (":3002", None),
    ],
)
def test_the_name_in_a_host_header(header: str, name: str | None) -> None:
    assert host_of(header) == name


@pytest.mark.parametrize("name", ["localhost", "app.localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_names_of_this_machine(name: str) -> None:
    assert is_loopback(name)


@pytest.mark.parametrize(
    "name", ["localhost.evil.example", "evillocalhost", "10.0.0.1", "0.0.0.0", "::", "127.1"]
)
def test_names_that_may_be_anybodys(name: str) -> None:
    assert not is_loopback(name)


@pytest.mark.parametrize(
    ("changes", "allowed", "refused"),
    [
        ({}, ["localhost:3002", "127.0.0.1", "[::1]:3002"], [EVIL, "", "hogsend.test"]),
        ({"public_url": "https://Mail.Example.com/x"}, ["mail.example.com", "MAIL.example.com:443"], [EVIL]),
        ({"public_url": "http://[2001:db8::7]:80"}, ["[2001:db8::7]"], ["[2001:db8::8]"]),
        ({"host": "10.0.0.5"}, ["10.0.0.5:3002"], ["10.0.0.6:3002"]),
        ({"host": "0.0.0.0"}, ["localhost"], ["0.0.0.0:3002", "10.0.0.5"]),
        ({"allowed_hosts": ["a.example", "*.b.example"]}, ["a.example:1", "x.b.example"], ["b.example", "xb.example"]),
        ({"allowed_hosts": ["*"]}, [EVIL, ""], []),
    ],
)  # fmt: skip
def test_which_hosts_are_ours(
    settings: Settings, changes: dict[str, Any], allowed: list[str], refused: list[str]
) -> None:
    hosts = AllowedHosts(settings.model_copy(update=changes))
    assert [hosts.allows(one) for one in allowed] == [True] * len(allowed)
    assert [hosts.allows(one) for one in refused] == [False] * len(refused)


@pytest.mark.parametrize(
    "value", ["http://a.example", "a.example:80", "a.example/x", "a b", "*x.example", "**"]
)
def test_a_setting_that_is_no_host_is_refused_in_words(value: str) -> None:
    with pytest.raises(SettingsError, match=r"HOGSEND_ALLOWED_HOSTS: .* is not a host's name"):
        load_settings(database_url="postgresql://x/x", allowed_hosts=value)


def test_the_setting_is_a_list_with_commas() -> None:
    given = load_settings(database_url="postgresql://x/x", allowed_hosts="A.example, *.b.example,[::2]")
    assert given.allowed_hosts == ["a.example", "*.b.example", "[::2]"]


@pytest.mark.parametrize(
    "path", ["/graphql", "/dev/inbox", "/", "/v1/t/o/x", "/v1/admin/contacts", "/nowhere"]
)
async def test_another_name_gets_neither_the_key_nor_the_inbox(
    settings: Settings, runtime: Runtime, path: str
) -> None:
    async with asking(settings, runtime) as client:
        headers = {"Host": EVIL, "Accept": "text/html", "Authorization": f"Bearer {ADMIN_KEY}"}
        answer = await client.get(path, headers=headers)
        assert (answer.status_code, ADMIN_KEY in answer.text) == (421, False)
        assert answer.json()["error"].startswith("This host is not served here")
        assert answer.headers["x-request-id"]
        own = await client.get("/graphql", headers={"Accept": "text/html"})
        assert (own.status_code, ADMIN_KEY in own.text) == (200, True)
        assert (await client.get("/dev/inbox", headers={"Host": "[::1]:3002"})).status_code == 200


async def test_two_hosts_are_none(settings: Settings, runtime: Runtime) -> None:
    async with asking(settings, runtime) as client:
        answer = await client.get("/dev/inbox", headers=[("Host", "localhost"), ("Host", EVIL)])
        assert answer.status_code == 421


async def test_health_answers_whoever_asks(settings: Settings, runtime: Runtime) -> None:
    async with asking(settings, runtime) as client:
        assert (await client.get("/v1/health", headers={"Host": EVIL})).status_code == 200


async def test_a_socket_of_another_name_is_refused_before_it_is_accepted(live_server: str) -> None:
    port = live_server.rsplit(":", 1)[1]
    async with connect(f"ws://127.0.0.1:{port}/graphql", subprotocols=[Subprotocol("graphql-transport-ws")]):
        pass
    with pytest.raises(InvalidStatus) as refused:
        async with connect(
            f"ws://{EVIL}:{port}/graphql",
            host="127.0.0.1",
            proxy=None,
            subprotocols=[Subprotocol("graphql-transport-ws")],
        ):
            pass
    assert refused.value.response.status_code == 421


async def test_a_socket_is_closed_where_the_server_cannot_answer_it(
    settings: Settings, runtime: Runtime
) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return await asyncio.Future()

    scope = {"type": "websocket", "path": "/graphql", "headers": [(b"host", EVIL.encode())]}
    await create_app(settings, runtime)(scope, receive, send)
    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 1008)]
