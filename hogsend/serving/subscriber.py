"""One reader of a stream: what it has taken, what waits for it, and how it is sent away when it reads too slowly."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import structlog

from hogsend.graphql.errors import Code, problem
from hogsend.graphql.live import going_away
from hogsend.realtime.cursor import Snapshot, StreamCursor
from hogsend.serving.eager import begun
from hogsend.serving.execution import Answer

log = structlog.get_logger(__name__)

SEND_SECONDS = 10.0
LONGEST_BACKLOG = 256


@dataclass(frozen=True)
class StreamMessage:
    """One answer of a stream as it goes out, made once for all who hear it.

    `pos` orders the messages of a stream; `txid` is the transaction of the activity, 0 where it tells a state.
    """

    pos: int
    txid: int
    body: bytes
    at: StreamCursor | None

    @cached_property
    def text(self) -> str:
        return self.body.decode()

    @cached_property
    def event(self) -> bytes:
        """The same as a server-sent event, whose id is the cursor."""
        named = b"" if self.at is None else b"id: " + self.at.encode().encode() + b"\n"
        return named + b"event: next\ndata: " + self.body + b"\n\n"

    def shrink(self) -> None:
        """Keep the body alone: the forms it goes out in are made again for who asks later."""
        self.__dict__.pop("text", None)
        self.__dict__.pop("event", None)


class Sink(Protocol):
    """Where a subscriber's messages go: an operation of a socket, or a response."""

    async def next(self, message: StreamMessage) -> None:
        """Write one message; waits for as long as the reader takes nothing. Raises `OSError` where it has gone."""
        ...


class Subscriber:
    """Takes messages in their order, each once, and keeps a bounded number while its reader is busy with one.

    `ended` is how the stream ends: None where it is complete, else an answer that says why; it is cancelled where the
    reader has gone.
    """

    def __init__(self, sink: Sink, cursor: StreamCursor | None, seen: Snapshot | None) -> None:
        self.ended: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self.cursor = cursor
        self._seen = seen
        self._sink = sink
        self._pos = 0 if cursor is None else cursor.pos
        self._backlog: deque[StreamMessage] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._last: tuple[Answer | None] | None = None

    def offer(self, message: StreamMessage) -> None:
        """Write `message`, or keep it until its reader has taken the one before. What it had before is left out."""
        if message.pos <= self._pos or (self._seen is not None and self._seen.shows(message.txid)):
            return
        self._pos = message.pos
        if self._sending is not None:
            self._keep(message)
            return
        try:
            rest = begun(self._sink.next(message))
        except Exception as error:
            # Whatever one reader's connection raises, the others hear the message.
            self._gone(error)
            return
        if rest is None:
            self._took(message)
        else:
            self._sending = asyncio.ensure_future(self._send_on(rest, message))

    def end(self, answer: Answer | None) -> None:
        """End after what waits was taken."""
        if self._sending is not None:
            self._last = (answer,)
        elif not self.ended.done():
            self.ended.set_result(self._with_cursor(answer))

    def close(self) -> None:
        """Nothing more is written."""
        if self._sending is not None:
            self._sending.cancel()
        self._backlog.clear()

    def _keep(self, message: StreamMessage) -> None:
        if message.at is None:
            self._backlog.clear()
        if len(self._backlog) >= LONGEST_BACKLOG:
            self._too_slow()
        else:
            self._backlog.append(message)

    def _took(self, message: StreamMessage) -> None:
        if message.at is not None:
            self.cursor = message.at

    async def _send_on(self, rest: asyncio.Task[None], message: StreamMessage) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await rest
            self._took(message)
            while self._backlog:
                message = self._backlog.popleft()
                await write_in_time(self._sink, message)
                self._took(message)
        except TimeoutError:
            self._too_slow()
        except Exception as error:
            self._gone(error)
        else:
            self._sending = None
            if self._last is not None:
                self.end(self._last[0])

    def _gone(self, error: Exception) -> None:
        if not isinstance(error, OSError):
            log.warning("stream_not_written", exc_info=error)
        self.ended.cancel()

    def _too_slow(self) -> None:
        if not self.ended.done():
            self.ended.set_result(too_slow(self.cursor))

    def _with_cursor(self, answer: Answer | None) -> Answer | None:
        if answer is None or not answer.errors:
            return answer
        if (answer.errors[0].extensions or {}).get("code") != Code.GOING_AWAY.value:
            return answer
        return Answer(errors=(going_away(self.cursor),), status=answer.status, executed=False)


async def write_in_time(sink: Sink, message: StreamMessage) -> None:
    """Write one message. Raises `TimeoutError` where the reader takes nothing for `SEND_SECONDS`."""
    async with asyncio.timeout(SEND_SECONDS):
        await sink.next(message)


def too_slow(cursor: StreamCursor | None) -> Answer:
    """How a stream ends whose reader takes nothing: the rest waits in Postgres, not here."""
    at = {} if cursor is None else {"cursor": cursor.encode()}
    error = problem("The reader is too slow; go on from the cursor", Code.SLOW_CONSUMER, **at)
    return Answer(errors=(error,), executed=False)
