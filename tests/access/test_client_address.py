"""Where a request comes from is what its connection says, and what a proxy says only where the operator names it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from hogsend.access.client_address import address_of
from hogsend.cli.api import server_config
from hogsend.settings import Settings


async def tell_address(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(address_of(HTTPConnection(scope)) or "")(scope, receive, send)


@asynccontextmanager
async def served(environ: Mapping[str, str]) -> AsyncIterator[str]:
    settings = Settings(database_url="postgresql://nobody@127.0.0.1/none", port=1)
    config = server_config(settings, tell_address, environ)
    config.port, config.lifespan = 0, "off"
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@pytest.mark.parametrize(
    ("trusted", "forwarded", "seen"),
    [
        (None, "7.7.7.7", "127.0.0.1"),
        ("", "7.7.7.7", "127.0.0.1"),
        ("10.0.0.1", "7.7.7.7", "127.0.0.1"),
        ("127.0.0.1", "7.7.7.7", "7.7.7.7"),
        ("127.0.0.0/8", "7.7.7.7, 8.8.8.8", "8.8.8.8"),
        ("127.0.0.1, 10.0.0.0/8", "7.7.7.7, 8.8.8.8, 10.1.2.3", "8.8.8.8"),
    ],
)
async def test_a_forwarded_address_is_believed_of_named_proxies(
    trusted: str | None, forwarded: str, seen: str
) -> None:
    environ = {} if trusted is None else {"FORWARDED_ALLOW_IPS": trusted}
    async with served(environ) as url, httpx.AsyncClient() as client:
        assert (await client.get(url, headers={"X-Forwarded-For": forwarded})).text == seen
