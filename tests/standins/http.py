"""A small HTTP server on a real socket, whose answers can be scripted to go wrong."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import orjson


@dataclass(frozen=True)
class Request:
    """What arrived. Header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        body = gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body
        return orjson.loads(body)


@dataclass(frozen=True)
class Answer:
    """An answer. As a fault it is given instead of handling the request."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reset:
    """The connection is reset; `accepted`: after the request was handled, so that only the answer is lost."""

    accepted: bool


@dataclass(frozen=True)
class Hold:
    """The request is handled, and its answer held back until `until` is set; never, where that is None."""

    until: asyncio.Event | None = None
    handled: bool = True


Fault = Answer | Reset | Hold


class StandIn:
    """Subclasses say how they answer. `faults` happen to the next requests, one each; `outage` to all after them."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.faults: deque[Fault | None] = deque()
        self.outage: Fault | None = None
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def answer(self, request: Request) -> Answer:
        return Answer()

    @property
    def url(self) -> str:
        assert self._server is not None, "the stand-in is not started"
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await begun()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; False where the connection is done."""
        request = await _read(reader)
        if request is None:
            return False
        self.requests.append(request)
        fault = self.faults.popleft() if self.faults else self.outage
        match fault:
            case Answer():
                answer = fault
            case Reset(accepted):
                if accepted:
                    await self.answer(request)
                _reset(writer)
                return False
            case Hold(until, handled):
                answer = await self.answer(request) if handled else Answer(503)
                await (until or asyncio.Event()).wait()
            case None:
                answer = await self.answer(request)
        await _write(writer, answer)
        return True


async def begun() -> None:
    """Let connections that were accepted as a server closed come to their task: what has none is never closed."""
    for _ in range(10):
        await asyncio.sleep(0)


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    parts = urlsplit(target)
    return Request(method, parts.path, parse_qs(parts.query), headers, body)


async def _write(writer: asyncio.StreamWriter, answer: Answer) -> None:
    raw = answer.body if isinstance(answer.body, bytes) else orjson.dumps(answer.body)
    headers = {"Content-Type": "application/json", **answer.headers, "Content-Length": str(len(raw))}
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + raw)
    await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN: what a crashed peer or a middlebox looks like."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
