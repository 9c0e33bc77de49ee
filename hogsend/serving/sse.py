"""A stream as server-sent events: graphql-sse's distinct connections, whose event ids are cursors."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson
from graphql import GraphQLError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hogsend.access.key_watch import KeyWatch
from hogsend.graphql.errors import denied
from hogsend.serving.broadcast import Broadcast
from hogsend.serving.execution import Answer, Refused
from hogsend.serving.server import GraphQLServer
from hogsend.serving.stream_limits import StreamLimits
from hogsend.serving.stream_request import StreamRequest
from hogsend.serving.subscriber import StreamMessage

EVENTS = "text/event-stream"
KEEP_ALIVE_SECONDS = 12.0
BEGIN_SECONDS = 2.0
LAST_WORD_SECONDS = 2.0
KEEP_ALIVE = b":\n\n"
TOO_MANY = 429


class EventStream(Response):
    """The response of one subscription. `begin` it first: until then a status can still say that it cannot be had."""

    def __init__(
        self,
        server: GraphQLServer,
        asked: StreamRequest,
        authorization: str | None,
        headers: Mapping[str, str],
    ) -> None:
        more = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(None, headers={**headers, **more}, media_type=EVENTS)
        del self.headers["content-length"]
        self._server = server
        self._asked = asked
        self._authorization = authorization
        self._send: Send | None = None
        self._started = asyncio.Event()
        self._serving = asyncio.create_task(self._serve())

    async def begin(self) -> Answer | None:
        """Wait until the stream can be followed, or for a moment; an answer says that it cannot be."""
        begun = asyncio.ensure_future(self._asked.context.begun.wait())
        try:
            either: set[asyncio.Future[Any]] = {self._serving, begun}
            await asyncio.wait(either, timeout=BEGIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._serving.cancel()
            raise
        finally:
            begun.cancel()
        return self._serving.result() if self._serving.done() else None

    async def next(self, message: StreamMessage) -> None:
        if self._send is None:
            await self._started.wait()
        await self._write(message.event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        leaving = asyncio.create_task(_gone(receive))
        with self._server.runtime.part(KeyWatch).refusal(self._authorization) as refusal:
            try:
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                self._send = send
                await self._write(KEEP_ALIVE)
                self._started.set()
                await self._follow({leaving, refusal, self._serving}, refusal)
                async with asyncio.timeout(LAST_WORD_SECONDS):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
            except (OSError, TimeoutError):
                pass
            finally:
                for task in (leaving, self._serving):
                    task.cancel()
                await asyncio.gather(leaving, self._serving, return_exceptions=True)

    async def _follow(self, ends: set[asyncio.Task[Any]], refusal: asyncio.Task[Any]) -> None:
        """Until the reader leaves, the key is refused or the stream ends; then say why, where it can be said."""
        while True:
            done, _ = await asyncio.wait(
                ends, timeout=KEEP_ALIVE_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if done:
                break
            await self._write(KEEP_ALIVE)
        answer: Answer | None = None
        if refusal in done:
            answer = Answer(errors=(denied(refusal.result()),), executed=False)
        elif self._serving in done:
            with suppress(asyncio.CancelledError):
                answer = self._serving.result()
        last = b"" if answer is None else event("next", answer.to_json())
        async with asyncio.timeout(LAST_WORD_SECONDS):
            await self._write(last + event("complete"))

    async def _serve(self) -> Answer | None:
        runtime, context = self._server.runtime, self._asked.context
        try:
            with runtime.part(StreamLimits).stream(context.caller, context.ip_address):
                return await runtime.part(Broadcast).serve(self._server.executor, self._asked, self)
        except GraphQLError as error:
            return Refused(error, status=TOO_MANY).answer()

    async def _write(self, body: bytes) -> None:
        assert self._send is not None, "the response has started"
        await self._send({"type": "http.response.body", "body": body, "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def event(name: str, data: Any = None) -> bytes:
    """One event; its data is JSON."""
    body = b"" if data is None else orjson.dumps(data)
    return b"event: " + name.encode() + b"\ndata: " + body + b"\n\n"
