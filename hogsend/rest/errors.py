"""The error envelope of the REST contract: `{"error": sentence, "details"?: [{path, message}], "requestId"?}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from hogsend.access.errors import AccessError
from hogsend.errors import Conflict, InvalidInput, NotFound
from hogsend.rest.models import InvalidBody
from hogsend.storage.unreachable import retry_seconds, sentence

INTERNAL = "Internal server error"
NOT_FOUND = "Not Found"
METHOD_NOT_ALLOWED = "Method Not Allowed"
TOO_LARGE = "Request body too large"


class JSONResponse(Response):
    """JSON by orjson. Instants are already text when they get here."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def error_response(
    status: int,
    error: str,
    *,
    details: Sequence[tuple[str, str]] = (),
    request_id: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """`details` are (path, message) pairs."""
    body: dict[str, Any] = {"error": error}
    if details:
        body["details"] = [{"path": path, "message": message} for path, message in details]
    if request_id is not None:
        body["requestId"] = request_id
    return JSONResponse(body, status, headers=headers)


def away(error: BaseException, request_id: str | None = None) -> JSONResponse:
    """503 while Postgres is away, or all connections are in use: nobody can do more about it than come back."""
    after = {"Retry-After": str(retry_seconds(error))}
    return error_response(503, sentence(error), request_id=request_id, headers=after)


def invalid(error: InvalidInput) -> JSONResponse:
    """400 for what is wrong in a request; a body may have several wrong fields."""
    details = error.details if isinstance(error, InvalidBody) else [(error.field, error.message)]
    return error_response(400, error.message, details=details)


def on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's own refusals: no such route, wrong method, unreadable body."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return error_response(404, NOT_FOUND)
    if error.status_code == 405:
        return error_response(405, METHOD_NOT_ALLOWED, headers={"Allow": ", ".join(_allowed(request))})
    return error_response(error.status_code, error.detail, headers=error.headers)


def unanswered(request: Request) -> Response:
    """405 where other methods are taken at this path, else 404."""
    if methods := _allowed(request):
        return error_response(405, METHOD_NOT_ALLOWED, headers={"Allow": ", ".join(methods)})
    return error_response(404, NOT_FOUND)


def on_hogsend_error(_request: Request, error: Exception) -> Response:
    """What a caller got wrong, raised by any route."""
    match error:
        case InvalidInput():
            return invalid(error)
        case NotFound():
            return error_response(404, error.message)
        case Conflict():
            return error_response(409, error.message)
        case AccessError():
            return error_response(error.status, error.message, headers=error.headers)
    raise error


def _allowed(request: Request) -> list[str]:
    """Every method that some route takes at this path; routes of one path are listed one a method."""
    methods: set[str] = set()
    for route in request.app.routes:
        match, _ = route.matches(request.scope)
        if match is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return sorted(methods)
