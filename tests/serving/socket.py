"""A client of `graphql-transport-ws`, small enough to see every message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.conftest import ADMIN_KEY

PATIENCE = 60.0


class Socket:
    """One connection. `receive` fails the test where nothing comes."""

    def __init__(self, raw: ClientConnection) -> None:
        self.raw = raw

    async def send(self, **message: Any) -> None:
        await self.raw.send(json.dumps(message))

    async def receive(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            message: dict[str, Any] = json.loads(await self.raw.recv())
        return message

    async def init(self, key: str = ADMIN_KEY) -> None:
        await self.send(type="connection_init", payload={"authorization": f"Bearer {key}"})
        assert await self.receive() == {"type": "connection_ack"}

    async def subscribe(self, id: str, query: str, **variables: Any) -> None:
        await self.send(id=id, type="subscribe", payload={"query": query, "variables": variables})

    async def next(self, id: str) -> dict[str, Any]:
        """The data of the next answer of one operation."""
        message = await self.receive()
        assert (message["type"], message["id"]) == ("next", id), message
        data: dict[str, Any] = message["payload"]["data"]
        return data

    async def closed(self) -> tuple[int, str]:
        """The code and the reason with which the server closes."""
        async with asyncio.timeout(PATIENCE):
            await self.raw.wait_closed()
        assert self.raw.close_code is not None
        return self.raw.close_code, self.raw.close_reason or ""


@asynccontextmanager
async def open_socket(base_url: str, protocol: str = "graphql-transport-ws") -> AsyncIterator[Socket]:
    url = base_url.replace("http", "ws", 1) + "/graphql"
    async with connect(url, subprotocols=[Subprotocol(protocol)], max_size=None, close_timeout=1) as raw:
        yield Socket(raw)
