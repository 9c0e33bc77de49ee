"""ASGI middleware that measures requests and sockets from outside: by route and status, how long, how many are open.

A request is known by the path of its route, as the code has it, and a GraphQL operation by the name that a trusted
document gives it. Whatever else a caller writes there is `other`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextvars import ContextVar

from starlette.datastructures import Headers
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hogsend.telemetry import traces
from hogsend.telemetry.counters import (
    GRAPHQL_OPERATIONS,
    OTHER,
    REQUEST_SECONDS,
    REQUESTS,
    SOCKETS_CLOSED,
    STREAMS_OPEN,
)
from hogsend.telemetry.traces import Span

GONE = "gone"
"""Instead of a status: nobody waited for the answer."""

MOST_NAMES = 200
"""Operations of trusted documents that are told apart; the others count as `other`."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_UNTRACED = frozenset({"/livez", "/readyz", "/metrics", "/v1/health"})
_operation: ContextVar[list[str] | None] = ContextVar("hogsend_operation", default=None)
_names: set[str] = set()


def note_operation(kind: str, trusted_name: str | None) -> None:
    """Say which GraphQL operation the current request runs; `trusted_name` where a trusted document names it."""
    name = trusted_name or OTHER
    if name not in _names:
        if len(_names) >= MOST_NAMES:
            name = OTHER
        _names.add(name)
    GRAPHQL_OPERATIONS.labels(kind, name).inc()
    noted = _operation.get()
    if noted is not None:
        noted[:] = [f"{kind} {name}"]


def name_routes(routes: Sequence[BaseRoute]) -> None:
    """Let each route tell its path to `Measured`."""
    for route in routes:
        if isinstance(route, Route) and not isinstance(route.app, _Named):
            route.app = _Named(route.app, route.path)


class _Named:
    """A route's application that notes which route it is."""

    def __init__(self, app: ASGIApp, path: str) -> None:
        self.app = app
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        noted = _operation.get()
        if noted is not None and not noted:
            method = scope["method"] if scope["method"] in _METHODS else OTHER
            noted.append(f"{method} {self._path}")
        await self.app(scope, receive, send)


class Measured:
    """The outermost layer: what it counts is what the caller got. A trace of the caller's own is linked, not joined:
    strangers do not decide what is kept."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._request(scope, receive, send)
        elif scope["type"] == "websocket":
            await _socket(self.app, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        noted: list[str] = []
        token = _operation.set(noted)
        answer = _Answer(send)
        try:
            if scope["path"] in _UNTRACED:
                await self.app(scope, receive, answer)
                return
            caller = Headers(scope=scope).get("traceparent")
            links = [caller] if caller else []
            with traces.span("request", kind="server", links=links, is_root=True) as answer.span:
                try:
                    await self.app(scope, receive, answer)
                finally:
                    told = {"http.response.status_code": answer.status} if answer.status is not None else {}
                    answer.span.note(told, name=noted[0] if noted else OTHER)
        finally:
            _operation.reset(token)
            answer.count(noted[0] if noted else OTHER)


class _Answer:
    """Passes an answer on, and keeps what there is to be counted of it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._began = time.perf_counter()
        self._seconds: float | None = None
        self._streams = False
        self.status: int | None = None
        self.span: Span | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and self.status is None:
            self.status = message["status"]
            self._seconds = time.perf_counter() - self._began
            kind = Headers(raw=message.get("headers", [])).get("content-type", "")
            if kind.startswith("text/event-stream"):
                self._streams = True
                STREAMS_OPEN.labels("sse").inc()
        await self._send(message)

    def count(self, operation: str) -> None:
        REQUESTS.labels(operation, GONE if self.status is None else str(self.status)).inc()
        if self._seconds is not None:
            REQUEST_SECONDS.labels(operation).observe(self._seconds)
        if self._streams:
            STREAMS_OPEN.labels("sse").dec()


async def _socket(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    is_open = False

    async def counted(message: Message) -> None:
        nonlocal is_open
        if message["type"] == "websocket.accept":
            is_open = True
            STREAMS_OPEN.labels("websocket").inc()
        elif message["type"] == "websocket.close":
            SOCKETS_CLOSED.labels(str(message.get("code", 1000))).inc()
        await send(message)

    try:
        await app(scope, receive, counted)
    finally:
        if is_open:
            STREAMS_OPEN.labels("websocket").dec()
