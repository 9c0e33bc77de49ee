"""A mail server that takes what it is given, or says no."""

from __future__ import annotations

import asyncio
from email import message_from_bytes, policy
from email.message import EmailMessage
from types import TracebackType
from typing import Self


class SmtpStandIn:
    """`answers` maps a command (`RCPT`, `DATA`, `.`, `QUIT`) to the line it gets; an empty one ends the connection.

    `heard` has each line of the dialogue, as it came over the wire.
    """

    def __init__(self) -> None:
        self.answers: dict[str, str] = {}
        self.accepted: list[EmailMessage] = []
        self.heard: list[str] = []
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 stand-in\r\n")
        while line := await reader.readline():
            self.heard.append(line.decode().strip())
            command = line.decode().split(" ")[0].strip().upper()
            usual = {"DATA": "354 go on", "QUIT": "221 bye"}.get(command, "250 ok")
            if not await self._say(writer, command, usual):
                return
            if command == "DATA" and "DATA" not in self.answers:
                raw = await reader.readuntil(b"\r\n.\r\n")
                if "." not in self.answers or self.answers["."] == "":
                    mail = message_from_bytes(raw[:-5].replace(b"\r\n..", b"\r\n."), policy=policy.default)
                    assert isinstance(mail, EmailMessage)
                    self.accepted.append(mail)
                if not await self._say(writer, ".", "250 taken"):
                    return
            if command == "QUIT":
                return

    async def _say(self, writer: asyncio.StreamWriter, command: str, usual: str) -> bool:
        words = self.answers.get(command, usual)
        if not words:
            writer.transport.abort()
            return False
        writer.write(words.encode() + b"\r\n")
        await writer.drain()
        return True
