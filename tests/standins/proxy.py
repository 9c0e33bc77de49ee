"""A TCP proxy that stands before a server and makes its network go wrong, for open connections and new ones."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.standins.http import begun

CHUNK = 65_536


class Fault(Enum):
    """What becomes of bytes. All but `REFUSE` and `RESET` leave connections open."""

    REFUSE = "nobody listens, and what was open is gone"
    RESET = "what is open is reset, and each new connection at once"
    BLACKHOLE = "a connection is taken, and nothing that is sent arrives"
    HALF_OPEN = "what was open is dead without having been told; new connections are fine"


@dataclass(frozen=True)
class Slow:
    """Whatever a client sends arrives so much later, in order."""

    seconds: float


Trouble = Fault | Slow | None


class _Link:
    """One client's connection. `dead` links read on and answer nothing."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter | None) -> None:
        self.client = client
        self.server = server
        self.dead = False
        self.tasks: list[asyncio.Task[None]] = []

    def reset(self) -> None:
        """RST instead of FIN: what a crashed peer or a middlebox looks like."""
        sock: socket.socket | None = self.client.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.transport.abort()


class Proxy:
    """Between a client and `target` (a URL). `url` is the same URL, through this proxy, on a port that stays."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        assert parts.hostname and parts.port, f"{target} names no host and port"
        self._target = target
        self._host, self._port = parts.hostname, parts.port
        self._listening: int = 0
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self.trouble: Trouble = None

    @property
    def url(self) -> str:
        parts = urlsplit(self._target)
        credentials = parts.netloc.rpartition("@")[0]
        netloc = (
            f"{credentials}@127.0.0.1:{self._listening}" if credentials else f"127.0.0.1:{self._listening}"
        )
        return parts._replace(netloc=netloc).geturl()

    async def make(self, trouble: Trouble) -> None:
        """From now on; None is recovery. Bytes that a blackhole took stay lost, and their connections dead."""
        before, self.trouble = self.trouble, trouble
        if before in (Fault.BLACKHOLE, Fault.HALF_OPEN):
            # What was lost in a stream cannot be made up for: a real peer answers such a connection with RST.
            for link in [link for link in self._links if link.dead]:
                link.reset()
        match trouble:
            case Fault.REFUSE:
                await self._stop_listening()
                self._reset_all()
            case Fault.RESET:
                self._reset_all()
            case Fault.BLACKHOLE | Fault.HALF_OPEN:
                for link in self._links:
                    link.dead = True
            case _:
                pass
        if trouble is not Fault.REFUSE and self._server is None:
            await self._listen()

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop_listening()
        await begun()
        links = list(self._links)
        self._reset_all()
        await asyncio.gather(*(task for link in links for task in link.tasks), return_exceptions=True)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", self._listening, reuse_address=True
        )
        self._listening = self._server.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _reset_all(self) -> None:
        for link in list(self._links):
            link.reset()
            for task in link.tasks:
                task.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer, None)
        if self._server is None:  # accepted in the instant before it stopped listening
            link.reset()
            return
        self._links.add(link)
        link.tasks.append(asyncio.ensure_future(self._carry(link, reader)))
        await asyncio.gather(*link.tasks, return_exceptions=True)
        link.client.transport.abort()
        self._links.discard(link)

    async def _carry(self, link: _Link, reader: asyncio.StreamReader) -> None:
        """Serve one connection to its end."""
        if self.trouble is Fault.RESET:
            link.reset()
            return
        if self.trouble is Fault.BLACKHOLE:
            link.dead = True
            await _swallow(reader)
            return
        try:
            from_server, link.server = await asyncio.open_connection(self._host, self._port)
        except OSError:
            link.reset()
            return
        answers = asyncio.ensure_future(self._answer(link, from_server))
        try:
            await self._ask(link, reader)
        finally:
            # Before anything is awaited: the proxy's own end may cancel this in the middle.
            link.server.transport.abort()
            answers.cancel()
            await asyncio.gather(answers, return_exceptions=True)

    async def _ask(self, link: _Link, reader: asyncio.StreamReader) -> None:
        assert link.server is not None
        while data := await _read(reader):
            if isinstance(self.trouble, Slow):
                asyncio.get_running_loop().call_later(self.trouble.seconds, _pass_on, link, data)
            else:
                _pass_on(link, data)

    async def _answer(self, link: _Link, from_server: asyncio.StreamReader) -> None:
        while data := await _read(from_server):
            if not link.dead:
                link.client.write(data)
        if not link.dead:
            # Let what was written be read before the end: an abort would throw it away.
            with contextlib.suppress(OSError):
                await link.client.drain()
                link.client.close()


def _pass_on(link: _Link, data: bytes) -> None:
    if link.server is not None and not link.dead and not link.server.is_closing():
        link.server.write(data)


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(CHUNK)
    except OSError:
        return b""


async def _swallow(reader: asyncio.StreamReader) -> None:
    while await _read(reader):
        pass
