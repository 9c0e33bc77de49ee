"""GraphQL over WebSocket: the `graphql-transport-ws` protocol, one socket for any number of operations."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import Any

import orjson
import structlog
from graphql import GraphQLError, OperationType
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from hogsend.access.authenticate import authenticate
from hogsend.access.caller import Caller
from hogsend.access.client_address import address_of
from hogsend.access.errors import AccessError, RateLimited
from hogsend.access.key_watch import KeyWatch
from hogsend.access.rate_limits import RateLimiter
from hogsend.graphql.context import Context
from hogsend.graphql.errors import Code, denied, unavailable
from hogsend.realtime.live import Live
from hogsend.serving.broadcast import Broadcast
from hogsend.serving.execution import Answer, Prepared, Refused
from hogsend.serving.heartbeat import Heartbeat
from hogsend.serving.pace import Pace
from hogsend.serving.request import Params, from_json
from hogsend.serving.server import GraphQLServer
from hogsend.serving.stream_limits import StreamLimits, too_many
from hogsend.serving.stream_request import StreamRequest
from hogsend.serving.subscriber import StreamMessage
from hogsend.serving.ws_messages import (
    LONGEST_GREETING,
    Closed,
    Greeting,
    greeting,
    operation_id,
    read_message,
)
from hogsend.storage.unreachable import unreachable

log = structlog.get_logger(__name__)

PROTOCOL = "graphql-transport-ws"
INIT_SECONDS = 10.0
SEND_SECONDS = 10.0
CLOSE_SECONDS = 2.0
MOST_OPERATIONS = 100

GOING_AWAY = 1001
TRY_LATER = 1013


class GraphQLSocket:
    """The WebSocket side of `/graphql`, as an ASGI application."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        server = socket.app.state.runtime.part(GraphQLServer)
        if PROTOCOL not in scope.get("subprotocols", ()):
            await socket.accept()
            await socket.close(4406, "Subprotocol not acceptable")
            return
        await socket.accept(PROTOCOL)
        with ExitStack() as stack:
            try:
                stack.enter_context(server.runtime.part(StreamLimits).socket(address_of(socket)))
            except GraphQLError as error:
                later = (error.extensions or {})["retryAfter"]
                await socket.close(TRY_LATER, f"THROTTLED: {error.message}; retryAfter={later}")
                return
            await _Connection(socket, send, server).serve()


class _Connection:
    """One socket. Each operation is a task."""

    def __init__(self, socket: WebSocket, send: Send, server: GraphQLServer) -> None:
        self._socket = socket
        self._raw_send = send
        self._server = server
        self._pace = server.runtime.part(Pace)
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._streams: dict[str, StreamRequest] = {}
        self._closing: asyncio.Future[Closed] = asyncio.get_running_loop().create_future()
        self._greeting = Greeting()
        self._caller: Caller | None = None

    async def serve(self) -> None:
        """Until the client leaves or is sent away."""
        receiving = asyncio.create_task(self._receive())
        draining = asyncio.create_task(self._server.runtime.part(Live).draining.wait())
        try:
            ends: set[asyncio.Future[Any]] = {receiving, draining, self._closing}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            await self._pace.turn()
            if receiving.done() and (error := receiving.exception()) is not None:
                self._close_with(error)
            elif draining.done():
                await self._drain()
        finally:
            tasks = [receiving, draining, *self._operations.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._closing.done():
            closed = self._closing.result()
            with suppress(RuntimeError, OSError, WebSocketDisconnect, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._socket.close(closed.code, closed.reason)
        self._closing.cancel()

    def _close_with(self, error: BaseException) -> None:
        match error:
            case TimeoutError():
                self._end(Closed(TRY_LATER, Code.SLOW_CONSUMER.value))
            case WebSocketDisconnect() | OSError():
                pass
            case Closed():
                self._end(error)
            case _:
                log.error("socket_failed", exc_info=error)
                self._end(Closed(1011, "Internal server error"))

    def _end(self, closed: Closed) -> None:
        if not self._closing.done():
            self._closing.set_result(closed)

    async def _drain(self) -> None:
        """Each stream says with its cursor that it ends; then the socket goes."""
        if self._operations:
            await asyncio.wait(set(self._operations.values()), timeout=CLOSE_SECONDS)
        self._end(Closed(GOING_AWAY, "Going away"))

    async def _receive(self) -> None:
        try:
            async with asyncio.timeout(INIT_SECONDS):
                await self._initialise(await self._message())
        except TimeoutError:
            raise Closed(4408, "Connection initialisation timeout") from None
        runtime = self._server.runtime
        with (
            runtime.part(KeyWatch).refusal(self._authorization) as refusal,
            runtime.part(Heartbeat).beating(self._beat),
        ):
            refusal.add_done_callback(self._refused)
            try:
                while True:
                    await self._handle(await self._message())
            finally:
                refusal.remove_done_callback(self._refused)

    def _refused(self, refusal: asyncio.Task[AccessError]) -> None:
        if not refusal.cancelled():
            self._end(Closed(4403, refusal.result().message))

    async def _message(self) -> dict[str, Any]:
        received = await self._socket.receive()
        if received["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(received.get("code", 1000))
        longest = LONGEST_GREETING if self._caller is None else None
        return await read_message(received.get("text"), received.get("bytes"), longest)

    async def _initialise(self, message: dict[str, Any]) -> None:
        while message["type"] in ("ping", "pong"):
            await self._pong(message)
            message = await self._message()
        if message["type"] == "subscribe":
            raise Closed(4401, "Unauthorized")
        if message["type"] != "connection_init":
            raise Closed(4400, "The first message must be `connection_init`")
        await self._pace.turn()
        self._greeting = greeting(message.get("payload"))
        self._authorization = self._greeting.authorization or self._socket.headers.get("authorization")
        runtime = self._server.runtime
        try:
            self._caller = await authenticate(runtime, self._authorization, address_of(self._socket))
        except AccessError as error:
            raise Closed(4403, error.message) from None
        except Exception as error:
            if not unreachable(error):
                raise
            raise Closed(TRY_LATER, unavailable(error).message) from None
        await self._send({"type": "connection_ack"})

    async def _handle(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "ping" | "pong":
                await self._pong(message)
            case "subscribe":
                await self._pace.turn()
                await self._subscribe(operation_id(message), message.get("payload"))
            case "complete":
                task = self._operations.pop(operation_id(message), None)
                if task is not None:
                    task.cancel()
            case "connection_init":
                raise Closed(4429, "Too many initialisation requests")
            case other:
                raise Closed(4400, f"Unknown message type {other[:40]}")

    async def _pong(self, message: dict[str, Any]) -> None:
        if message["type"] == "ping":
            await self._send({"type": "pong"})

    async def _beat(self) -> None:
        """A ping; to a client that resumes, with where its streams have come to."""
        told = {"payload": {"cursors": self._cursors()}} if self._greeting.resumes else {}
        await self._send({"type": "ping", **told})

    def _cursors(self) -> dict[str, str]:
        at = {operation: request.position for operation, request in self._streams.items()}
        return {operation: cursor.encode() for operation, cursor in at.items() if cursor is not None}

    async def _subscribe(self, id: str, payload: Any) -> None:
        if id in self._operations:
            raise Closed(4409, f"Subscriber for {id[:60]} already exists")
        resume = self._greeting.cursors.pop(id, None)
        try:
            params = from_json(payload)
            if len(self._operations) >= MOST_OPERATIONS:
                raise too_many(f"A socket carries at most {MOST_OPERATIONS} operations")
            prepared, context = await self._admit(params)
        except (Refused, GraphQLError) as error:
            refused = error if isinstance(error, Refused) else Refused(error)
            await self._send_errors(id, refused.answer())
            return
        if prepared.kind is OperationType.SUBSCRIPTION:
            request = self._server.stream(prepared, params, context, resume)
            running = self._stream(id, request)
        else:
            running = self._run(id, prepared, params, context)
        task = asyncio.create_task(running)
        self._operations[id] = task
        task.add_done_callback(lambda done: self._ended(id, done))

    async def _admit(self, params: Params) -> tuple[Prepared, Context]:
        """Each operation counts as a request."""
        assert self._caller is not None, "the connection is initialised"
        runtime = self._server.runtime
        try:
            rate = await runtime.part(RateLimiter).count(self._caller)
        except RateLimited as error:
            raise denied(error) from None
        context = self._server.context(
            self._caller, rate, self._socket.state.request_id, address_of(self._socket)
        )
        return self._server.prepare(params), context

    def _ended(self, id: str, task: asyncio.Task[None]) -> None:
        if self._operations.get(id) is task:
            del self._operations[id]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._close_with(error)

    async def _run(self, id: str, prepared: Prepared, params: Params, context: Context) -> None:
        answer = await self._server.executor.execute(prepared, params.variables, context)
        if answer.refused:
            await self._send_errors(id, answer)
            return
        async with asyncio.timeout(SEND_SECONDS):
            await self._send({"id": id, "type": "next", "payload": answer.to_json()})
        await self._complete(id)

    async def _stream(self, id: str, request: StreamRequest) -> None:
        runtime = self._server.runtime
        limits = runtime.part(StreamLimits).stream(request.context.caller, request.context.ip_address)
        self._streams[id] = request
        telling = None
        try:
            with limits:
                if self._greeting.resumes:
                    telling = asyncio.create_task(self._tell_begun(request))
                sink = _Operation(id, self._raw_send)
                answer = await runtime.part(Broadcast).serve(self._server.executor, request, sink)
        except GraphQLError as error:
            answer = Refused(error).answer()
        finally:
            self._streams.pop(id, None)
            if telling is not None:
                telling.cancel()
        if answer is None:
            await self._complete(id)
        elif _code(answer) == Code.SLOW_CONSUMER:
            at = (answer.errors[0].extensions or {}).get("cursor", "")
            raise Closed(TRY_LATER, f"{Code.SLOW_CONSUMER.value} {at}"[:120])
        else:
            await self._send_errors(id, answer)

    async def _tell_begun(self, request: StreamRequest) -> None:
        """So that who leaves before the first message can go on from where the stream began."""
        await request.context.begun.wait()
        with suppress(OSError):
            await self._beat()

    async def _complete(self, id: str) -> None:
        self._operations.pop(id, None)
        await self._send({"id": id, "type": "complete"})

    async def _send_errors(self, id: str, answer: Answer) -> None:
        self._operations.pop(id, None)
        await self._send({"id": id, "type": "error", "payload": [error.formatted for error in answer.errors]})

    async def _send(self, message: Mapping[str, Any]) -> None:
        await self._raw_send({"type": "websocket.send", "text": orjson.dumps(message).decode()})


class _Operation:
    """Where the messages of one operation go."""

    def __init__(self, id: str, send: Send) -> None:
        self._prefix = f'{{"id":{orjson.dumps(id).decode()},"type":"next","payload":'
        self._send = send

    async def next(self, message: StreamMessage) -> None:
        await self._send({"type": "websocket.send", "text": f"{self._prefix}{message.text}}}"})


def _code(answer: Answer) -> str | None:
    return (answer.errors[0].extensions or {}).get("code") if answer.errors else None
