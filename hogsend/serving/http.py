"""GraphQL over HTTP, as the draft says: media types, status codes, GET for queries, and SSE."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import orjson
import structlog
from graphql import GraphQLError, OperationType
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hogsend.access.client_address import address_of
from hogsend.access.errors import AccessError
from hogsend.access.gate import Admitted, admit
from hogsend.content_types import JSON, is_json
from hogsend.graphql.context import Context
from hogsend.graphql.errors import denied, problem, unavailable
from hogsend.serving.execution import Answer, Prepared, Refused
from hogsend.serving.graphiql import graphiql
from hogsend.serving.request import Params, from_body, from_query
from hogsend.serving.server import GraphQLServer
from hogsend.serving.sse import EVENTS, EventStream, event
from hogsend.storage.unreachable import retry_seconds, unreachable

log = structlog.get_logger(__name__)

T = TypeVar("T")

GRAPHQL = "application/graphql-response+json"
HTML = "text/html"


class GraphQLEndpoint:
    """`/graphql`, as an ASGI application. The runtime is on `app.state`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await _respond(request, request.app.state.runtime.part(GraphQLServer))
        await response(scope, receive, send)


async def _respond(request: Request, server: GraphQLServer) -> Response:
    if request.method not in ("GET", "HEAD", "POST"):
        return _error("Use GET or POST", 405, {"Allow": "GET, POST"})
    posted = request.method == "POST"
    if not posted and _is_visit(request):
        return graphiql(server.runtime.settings)
    media_type = accepted(request, (GRAPHQL, JSON, EVENTS))
    if media_type is None:
        return _error(f"Accept must allow {GRAPHQL}, {JSON} or {EVENTS}", 406)
    try:
        admitted = await admit(server.runtime, request.headers.get("authorization"), address_of(request))
    except AccessError as error:
        return _json(Answer(errors=(denied(error),), status=error.status), error.headers, media_type)
    except Exception as error:
        if not unreachable(error):
            raise
        log.warning("key_not_checked", request_id=request.state.request_id, error=type(error).__name__)
        after = {"Retry-After": str(retry_seconds(error))}
        return _json(Answer(errors=(unavailable(error),), status=503), after, media_type)
    if posted and not is_json(request.headers.get("content-type", "")):
        return _error("Content-Type must be application/json", 415, admitted.rate.headers, media_type)
    try:
        params = await from_body(await request.body()) if posted else from_query(request.query_params)
    except Refused as refused:
        return _json(refused.answer(), admitted.rate.headers, media_type)
    try:
        prepared = server.prepare(params)
        _check_method(prepared, posted, media_type)
    except _WrongMethod as error:
        return _error(str(error), 405, admitted.rate.headers | {"Allow": "POST"}, media_type)
    except (GraphQLError, Refused) as error:
        answer = (error if isinstance(error, Refused) else Refused(error)).answer()
        return _json(_for_the_document(answer, params, media_type), admitted.rate.headers, media_type)
    context = server.context(
        admitted.caller,
        admitted.rate,
        request.state.request_id,
        address_of(request),
    )
    if media_type == EVENTS:
        return await _stream(request, server, prepared, params, context, admitted)
    context.raw_json = True
    execution = server.executor.execute(prepared, params.variables, context)
    # What changes something is finished even where nobody waits for the answer any more.
    reads = prepared.kind is OperationType.QUERY
    answer = await (_unless_gone(request, execution) if reads else execution)
    headers = admitted.rate.headers | _again_after(answer)
    return _json(_for_the_document(answer, params, media_type), headers, media_type)


def _again_after(answer: Answer) -> dict[str, str]:
    """`Retry-After` of an answer that was refused for now."""
    later = (
        (answer.errors[0].extensions or {}).get("retryAfter") if answer.refused and answer.errors else None
    )
    return {} if later is None else {"Retry-After": str(later)}


def _is_visit(request: Request) -> bool:
    """A browser that opens the address, rather than a client that sends a query."""
    asks = "query" in request.query_params or "documentId" in request.query_params
    return not asks and HTML in request.headers.get("accept", "")


class _WrongMethod(Exception):
    """GET for something that is not a query."""


def _check_method(prepared: Prepared, posted: bool, media_type: str) -> None:
    if not posted and prepared.kind is OperationType.MUTATION:
        raise _WrongMethod("Use POST for mutations")
    if prepared.kind is OperationType.SUBSCRIPTION and media_type != EVENTS:
        raise Refused(problem(f"A subscription needs Accept: {EVENTS}, or a WebSocket"), status=406)


def accepted(request: Request, offered: tuple[str, ...]) -> str | None:
    """Which of `offered` the client likes best; the first where it does not say. None where it wants none."""
    header = request.headers.get("accept", "").strip()
    if not header:
        return offered[0]
    best: tuple[float, str | None] = (0.0, None)
    for part in header.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((_number(text[2:]) for text in parameters if text.startswith("q=")), 1.0)
        found = next((one for one in offered if name in (one, "*/*", f"{one.split('/')[0]}/*")), None)
        if found is not None and quality > best[0]:
            best = (quality, found)
    return best[1]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _for_the_document(answer: Answer, params: Params, media_type: str) -> Answer:
    """A well-formed request with a bad document is 200 to a client that knows `application/json` alone.

    So the GraphQL-over-HTTP draft has it for that media type; what is no fault of the document keeps its status.
    """
    has_document = params.query is not None or params.document_id is not None
    if media_type != JSON or not has_document or answer.status not in (400, 422):
        return answer
    return replace(answer, status=200, executed=False)


def _json(answer: Answer, headers: dict[str, str], media_type: str = GRAPHQL) -> Response:
    """Errors too in the media type that the client accepts; one that accepts events alone gets GraphQL's own."""
    kind = JSON if media_type == JSON else GRAPHQL
    return Response(
        orjson.dumps(answer.to_json()), answer.status, headers, media_type=f"{kind}; charset=utf-8"
    )


def _error(
    message: str, status: int, headers: dict[str, str] | None = None, media_type: str = GRAPHQL
) -> Response:
    return _json(Answer(errors=(problem(message),), status=status), headers or {}, media_type)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do `work`, and cancel it when the client hangs up: nobody waits for its answer."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
        return await task
    finally:
        gone.cancel()
        task.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _stream(
    request: Request,
    server: GraphQLServer,
    prepared: Prepared,
    params: Params,
    context: Context,
    admitted: Admitted,
) -> Response:
    """graphql-sse, distinct connections: `next` for each answer, then `complete`."""
    headers = admitted.rate.headers
    if prepared.kind is not OperationType.SUBSCRIPTION:
        answer = await server.executor.execute(prepared, params.variables, context)
        if answer.refused:
            return _json(answer, headers | _again_after(answer))
        body = event("next", answer.to_json()) + event("complete")
        return Response(body, headers=headers, media_type=EVENTS)
    asked = server.stream(prepared, params, context, request.headers.get("last-event-id"))
    stream = EventStream(server, asked, request.headers.get("authorization"), headers)
    if (refused := await stream.begin()) is not None:
        return _json(refused, headers | _again_after(refused))
    return stream
