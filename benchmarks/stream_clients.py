"""Many readers of streams in one process: raw WebSockets and server-sent events, as cheap as they can be made."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

MASKED = 0x80
TEXT_FRAME = b"\x81"


@dataclass(frozen=True)
class Ask:
    """What one client subscribes to, and where."""

    port: int
    key: str
    query: str
    variables: dict[str, str]
    sse: bool


class Client(asyncio.Protocol):
    """Subscribes as soon as it is connected; `heard` is called with each message, `ready` once it is subscribed."""

    def __init__(self, ask: Ask, heard: Callable[[Client, bytes], None], ready: Callable[[], None]) -> None:
        self.ask = ask
        self.positions: list[int] = []
        self.closed = False
        self._heard = heard
        self._ready = ready
        self._rest = b""
        self._upgraded = False
        self._acknowledged = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)
        self.transport = transport
        transport.write(self._posted() if self.ask.sse else self._handshake())

    def connection_lost(self, _error: Exception | None) -> None:
        self.closed = True

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        if not self._upgraded:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._rest = head
                return
            if b" 101 " not in head[:40] and b" 200 " not in head[:40]:
                raise SystemExit(f"refused: {head[:200]!r} {data[:300]!r}")
            self._upgraded = True
            if self.ask.sse:
                self._ready()
            else:
                self._write(
                    {"type": "connection_init", "payload": {"authorization": f"Bearer {self.ask.key}"}}
                )
        self._rest = self._events(data) if self.ask.sse else self._frames(data)

    def _events(self, data: bytes) -> bytes:
        *events, rest = data.split(b"\n\n")
        for event in events:
            if b"event: next" in event:
                self._heard(self, event)
        return rest

    def _frames(self, data: bytes) -> bytes:
        while len(data) >= 2:
            length, start = data[1] & 127, 2
            if length == 126:
                length, start = int.from_bytes(data[2:4], "big"), 4
            if len(data) < start + length:
                break
            self._frame(data[0] & 15, data[start : start + length])
            data = data[start + length :]
        return data

    def _frame(self, opcode: int, body: bytes) -> None:
        if opcode == 9:
            self.transport.write(bytes([0x8A, MASKED | len(body)]) + b"\0\0\0\0" + body)
        elif opcode == 8:
            raise SystemExit(f"closed: {body!r}")
        elif b'"type":"next"' in body or b'"type": "next"' in body:
            self._heard(self, body)
        elif b"connection_ack" in body:
            payload = {"query": self.ask.query, "variables": self.ask.variables}
            self._write({"id": os.urandom(8).hex(), "type": "subscribe", "payload": payload})
            self._ready()
        elif b'"ping"' in body:
            self._write({"type": "pong"})
        else:
            raise SystemExit(f"unexpected: {body!r}")

    def _write(self, message: dict[str, object]) -> None:
        body = json.dumps(message).encode()
        size = len(body)
        head = bytes([MASKED | size]) if size < 126 else bytes([MASKED | 126]) + size.to_bytes(2, "big")
        self.transport.write(TEXT_FRAME + head + b"\0\0\0\0" + body)

    def _handshake(self) -> bytes:
        nonce = base64.b64encode(os.urandom(16)).decode()
        return (
            f"GET /graphql HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {nonce}\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
        ).encode()

    def _posted(self) -> bytes:
        body = json.dumps({"query": self.ask.query, "variables": self.ask.variables}).encode()
        return (
            "POST /graphql HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
            f"Content-Type: application/json\r\nAuthorization: Bearer {self.ask.key}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body


async def connect_all(
    asks: list[Ask], heard: Callable[[Client, bytes], None], at_once: int = 50
) -> list[Client]:
    """All clients, subscribed: some at a time, so that no backlog of the kernel overflows."""
    loop = asyncio.get_running_loop()
    clients: list[Client] = []
    for first in range(0, len(asks), at_once):
        some = asks[first : first + at_once]
        all_ready = asyncio.Event()
        waiting = len(some)

        def ready() -> None:
            nonlocal waiting
            waiting -= 1
            if not waiting:
                all_ready.set()  # noqa: B023 - it is awaited before the next is made

        for ask in some:
            _, client = await loop.create_connection(
                lambda ask=ask: Client(ask, heard, ready),
                "127.0.0.1",
                ask.port,  # type: ignore[misc]
            )
            clients.append(client)
        async with asyncio.timeout(30):
            await all_ready.wait()
    return clients
