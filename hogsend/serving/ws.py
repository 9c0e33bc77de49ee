"""GraphQL over WebSocket: the `graphql-transport-ws` protocol, one socket for any number of operations."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import orjson
import structlog
from graphql import GraphQLError, OperationType
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from hogsend.access.authenticate import authenticate, until_refused
from hogsend.access.caller import Caller
from hogsend.access.client_address import address_of
from hogsend.access.errors import AccessError, RateLimited
from hogsend.access.rate_limits import RateLimiter
from hogsend.graphql.context import Context
from hogsend.graphql.errors import Code, denied, problem
from hogsend.json_bounds import TooManyValues, check_values
from hogsend.realtime.live import Live
from hogsend.serving.execution import Answer, Prepared, Refused
from hogsend.serving.request import Params, from_json
from hogsend.serving.server import GraphQLServer

log = structlog.get_logger(__name__)

PROTOCOL = "graphql-transport-ws"
INIT_SECONDS = 10.0
SEND_SECONDS = 10.0
MOST_OPERATIONS = 100
LONGEST_GREETING = 16_384
"""Bytes of a message before its sender is known."""

GOING_AWAY = 1001
SLOW = 1013


class Closed(Exception):
    """Close the socket with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


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
        await _Connection(socket, server).serve()


class _Connection:
    """One socket. Messages are sent one at a time; each operation is a task."""

    def __init__(self, socket: WebSocket, server: GraphQLServer) -> None:
        self._socket = socket
        self._server = server
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._sending = asyncio.Lock()
        self._closing: asyncio.Future[Closed] = asyncio.get_running_loop().create_future()
        self._authorization: str | None = None
        self._caller: Caller | None = None
        self._ready = asyncio.Event()

    async def serve(self) -> None:
        """Until the client leaves or is sent away."""
        receiving = asyncio.create_task(self._receive())
        watching = asyncio.create_task(self._watch())
        try:
            ends: set[asyncio.Future[Any]] = {receiving, watching, self._closing}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in (receiving, watching):
                if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                    self._close_with(error)
        finally:
            tasks = [receiving, watching, *self._operations.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._closing.done():
            closed = self._closing.result()
            with suppress(RuntimeError, WebSocketDisconnect):
                await self._socket.close(closed.code, closed.reason)
        self._closing.cancel()

    def _close_with(self, error: BaseException) -> None:
        match error:
            case WebSocketDisconnect():
                pass
            case Closed():
                self._end(error)
            case _:
                log.error("socket_failed", exc_info=error)
                self._end(Closed(1011, "Internal server error"))

    def _end(self, closed: Closed) -> None:
        if not self._closing.done():
            self._closing.set_result(closed)

    async def _receive(self) -> None:
        try:
            async with asyncio.timeout(INIT_SECONDS):
                await self._initialise(await self._message())
        except TimeoutError:
            raise Closed(4408, "Connection initialisation timeout") from None
        while True:
            await self._handle(await self._message())

    async def _message(self) -> dict[str, Any]:
        received = await self._socket.receive()
        if received["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(received.get("code", 1000))
        text = received.get("text")
        frame: bytes = text.encode() if text is not None else received.get("bytes") or b""
        if self._caller is None and len(frame) > LONGEST_GREETING:
            raise Closed(4400, f"Before connection_ack a message has at most {LONGEST_GREETING:,} bytes")
        try:
            await check_values(frame)
            message = orjson.loads(frame)
        except TooManyValues as error:
            raise Closed(4400, str(error)) from None
        except orjson.JSONDecodeError:
            raise Closed(4400, "Messages must be JSON") from None
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            raise Closed(4400, "Messages must be objects with a `type`")
        return message

    async def _initialise(self, message: dict[str, Any]) -> None:
        while message["type"] in ("ping", "pong"):
            await self._pong(message)
            message = await self._message()
        if message["type"] == "subscribe":
            raise Closed(4401, "Unauthorized")
        if message["type"] != "connection_init":
            raise Closed(4400, "The first message must be `connection_init`")
        payload = message.get("payload")
        if payload is not None and not isinstance(payload, dict):
            raise Closed(4400, "`payload` must be an object")
        self._authorization = _authorization(payload or {}) or self._socket.headers.get("authorization")
        try:
            self._caller = await authenticate(
                self._server.runtime, self._authorization, address_of(self._socket)
            )
        except AccessError as error:
            raise Closed(4403, error.message) from None
        self._ready.set()
        await self._send({"type": "connection_ack"})

    async def _handle(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "ping" | "pong":
                await self._pong(message)
            case "subscribe":
                await self._subscribe(_operation_id(message), message.get("payload"))
            case "complete":
                task = self._operations.pop(_operation_id(message), None)
                if task is not None:
                    task.cancel()
            case "connection_init":
                raise Closed(4429, "Too many initialisation requests")
            case other:
                raise Closed(4400, f"Unknown message type {other[:40]}")

    async def _pong(self, message: dict[str, Any]) -> None:
        if message["type"] == "ping":
            await self._send({"type": "pong"})

    async def _subscribe(self, id: str, payload: Any) -> None:
        if id in self._operations:
            raise Closed(4409, f"Subscriber for {id[:60]} already exists")
        try:
            params = from_json(payload)
            if len(self._operations) >= MOST_OPERATIONS:
                raise problem(f"A socket carries at most {MOST_OPERATIONS} operations", Code.THROTTLED)
            prepared, context = await self._admit(params)
        except (Refused, GraphQLError) as error:
            refused = error if isinstance(error, Refused) else Refused(error)
            await self._send_errors(id, refused.answer())
            return
        task = asyncio.create_task(self._run(id, prepared, params, context))
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
        executor = self._server.executor
        if prepared.kind is not OperationType.SUBSCRIPTION:
            answer = await executor.execute(prepared, params.variables, context)
            await self._answer(id, answer, context)
            if not answer.refused:
                await self._complete(id)
            return
        answers = executor.subscribe(prepared, params.variables, context)
        try:
            async for answer in answers:
                await self._answer(id, answer, context)
                if answer.refused:
                    return
        finally:
            await answers.aclose()  # type: ignore[attr-defined]
        await self._complete(id)

    async def _answer(self, id: str, answer: Answer, context: Context) -> None:
        if answer.refused:
            await self._send_errors(id, answer)
            return
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._send({"id": id, "type": "next", "payload": answer.to_json()})
        except TimeoutError:
            # What it did not take waits in Postgres, not here: it comes back with its cursor.
            raise Closed(SLOW, f"{Code.SLOW_CONSUMER.value} {context.taken or ''}"[:120]) from None

    async def _complete(self, id: str) -> None:
        self._operations.pop(id, None)
        await self._send({"id": id, "type": "complete"})

    async def _send_errors(self, id: str, answer: Answer) -> None:
        self._operations.pop(id, None)
        await self._send({"id": id, "type": "error", "payload": [error.formatted for error in answer.errors]})

    async def _send(self, message: dict[str, Any]) -> None:
        async with self._sending:
            await self._socket.send_text(orjson.dumps(message).decode())

    async def _watch(self) -> None:
        """Send the client away when its key is revoked, or when this process stops."""
        await self._ready.wait()
        refused = asyncio.ensure_future(until_refused(self._server.runtime, self._authorization))
        draining = asyncio.ensure_future(self._server.runtime.part(Live).draining.wait())
        try:
            await asyncio.wait({refused, draining}, return_when=asyncio.FIRST_COMPLETED)
            if refused.done():
                raise Closed(4403, refused.result().message)
            # Each stream says with its cursor that it ends; then the socket goes.
            await asyncio.wait(set(self._operations.values()) or {draining}, timeout=2.0)
            raise Closed(GOING_AWAY, "Going away")
        finally:
            refused.cancel()
            draining.cancel()


def _authorization(payload: dict[str, Any]) -> str | None:
    for name, value in payload.items():
        if name.lower() == "authorization" and isinstance(value, str):
            return value
    return None


def _operation_id(message: dict[str, Any]) -> str:
    given = message.get("id")
    if not isinstance(given, str) or not given:
        raise Closed(4400, "`id` must be a non-empty string")
    return given
