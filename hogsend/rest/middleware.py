"""ASGI middleware around every request: its id, the limit on its body, and the answer when something of ours breaks."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from hogsend.graphql.errors import Code, problem
from hogsend.rest.errors import INTERNAL, TOO_LARGE, JSONResponse, away, error_response
from hogsend.storage.unreachable import RETRY_SECONDS, unreachable

log = structlog.get_logger(__name__)

LONGEST_REQUEST = 30.0
GRAPHQL_PATH = "/graphql"
TOO_LONG = (
    "The request took too long and was ended; what it had begun to change may still happen. Try again later, "
    "with the same idempotency key"
)

_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{8,128}")


class RequestId:
    """Puts an id into `scope["state"]["request_id"]` and on the response; a caller's own is kept where it is sane.

    It is the outermost layer, so it also answers for whatever escapes the others, with the id and without a word
    about what went wrong, which is for the log: 503 where Postgres is away, else 500.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _SANE_ID.fullmatch(given) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def with_id(message: Message) -> None:
            nonlocal started
            if message["type"] in ("http.response.start", "websocket.accept"):
                started = True
                message.setdefault("headers", [])
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            with bound_contextvars(request_id=request_id):
                await self.app(scope, receive, with_id)
        except Exception as error:
            is_away = unreachable(error)
            # An outage is one fact, not a traceback for each request.
            told = {"error": type(error).__name__} if is_away else {"exc_info": error}
            log.error("request_failed", request_id=request_id, path=scope["path"], away=is_away, **told)
            if started or scope["type"] == "websocket":
                raise
            answer = (
                away(error, request_id) if is_away else error_response(500, INTERNAL, request_id=request_id)
            )
            await answer(scope, receive, with_id)


class Deadline:
    """Answers 503 for a request that has no answer `LONGEST_REQUEST` seconds after all of it came, and ends it.

    A Postgres that is slow or silent would keep it, and its connection, for each statement anew; so would a lock that
    somebody holds. Which of them it was nobody knows here, so no cause is told. Once an answer begins it may take as
    long as it likes: streams and exports do.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        arrived = answering = False

        def move(when: float | None) -> None:
            if not deadline.expired():  # It may have passed while the answer was on its way here.
                deadline.reschedule(when)

        async def heard() -> Message:
            nonlocal arrived
            if arrived or answering:
                return await receive()
            move(None)  # A client may send as slowly as it likes.
            message = await receive()
            arrived = not message.get("more_body", False)
            move(loop.time() + LONGEST_REQUEST)
            return message

        async def answered(message: Message) -> None:
            nonlocal answering
            answering = True
            move(None)
            await send(message)

        try:
            async with asyncio.timeout(LONGEST_REQUEST) as deadline:
                await self.app(scope, heard, answered)
        except TimeoutError:
            if answering or not deadline.expired():
                raise
            log.warning("request_took_too_long", path=scope["path"])
            await _took_too_long(scope)(scope, receive, send)


def _took_too_long(scope: Scope) -> ASGIApp:
    request_id = scope["state"]["request_id"]
    after = {"Retry-After": str(RETRY_SECONDS)}
    if scope["path"] == GRAPHQL_PATH:
        told = problem(TOO_LONG, Code.INTERNAL, retryAfter=RETRY_SECONDS, requestId=request_id)
        return JSONResponse({"errors": [told.formatted]}, 503, headers=after)
    return error_response(503, TOO_LONG, request_id=request_id, headers=after)


class _TooLarge(Exception):
    """The body outgrew its limit while it was being read."""


class BodyLimit:
    """Answers 413 for a body over the limit, announced or not. `limits` are (path prefix, bytes), first match wins."""

    def __init__(self, app: ASGIApp, default: int, limits: Sequence[tuple[str, int]] = ()) -> None:
        self.app = app
        self.default = default
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        limit = next((size for prefix, size in self.limits if path.startswith(prefix)), self.default)
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            await error_response(413, TOO_LARGE, headers={"Connection": "close"})(scope, receive, send)
            return
        read = 0
        started = False

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > limit:
                raise _TooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, counted, noted)
        except _TooLarge:
            if started:
                raise
            await error_response(413, TOO_LARGE, headers={"Connection": "close"})(scope, receive, send)
