"""Errors as clients see them: a code, a sentence that was written for them, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import structlog
from graphql import GraphQLError

from hogsend.access.errors import AccessError, RateLimited
from hogsend.errors import Conflict, InvalidInput, NotFound
from hogsend.graphql.context import Context
from hogsend.storage.cursors import BadCursor
from hogsend.storage.unreachable import busy, retry_seconds, sentence, unreachable

log = structlog.get_logger(__name__)


class Code(StrEnum):
    """`extensions.code` of a top-level error."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    BAD_REQUEST = "BAD_REQUEST"
    INVALID_CURSOR = "INVALID_CURSOR"
    NOT_FOUND = "NOT_FOUND"
    THROTTLED = "THROTTLED"
    MAX_COST_EXCEEDED = "MAX_COST_EXCEEDED"
    INTERNAL = "INTERNAL"
    SLOW_CONSUMER = "SLOW_CONSUMER"
    GOING_AWAY = "GOING_AWAY"


INTERNAL_MESSAGE = "Internal server error"
ACCESS_CODES = {
    401: Code.UNAUTHENTICATED,
    403: Code.FORBIDDEN,
    429: Code.THROTTLED,
    503: Code.UNAUTHENTICATED,
}
UNPROCESSABLE = 422
HTTP_STATUS = {
    Code.UNAUTHENTICATED: 401,
    Code.FORBIDDEN: 403,
    Code.THROTTLED: 429,
    Code.INTERNAL: 500,
    Code.GOING_AWAY: 503,
}


def problem(message: str, code: Code = Code.BAD_REQUEST, **extensions: Any) -> GraphQLError:
    """An error whose message is meant for the client."""
    return GraphQLError(message, extensions={"code": code.value, **extensions})


def unavailable(error: BaseException, **extensions: Any) -> GraphQLError:
    """Postgres is away (`INTERNAL`), or all connections are in use (`THROTTLED`); it says when to come back."""
    code = Code.THROTTLED if busy(error) else Code.INTERNAL
    return problem(sentence(error), code, retryAfter=retry_seconds(error), **extensions)


def is_unavailable(error: GraphQLError) -> bool:
    return "retryAfter" in (error.extensions or {})


def status_of(error: GraphQLError) -> int:
    """The HTTP status of an answer that is only this error."""
    return 503 if is_unavailable(error) else HTTP_STATUS.get(code_of(error), UNPROCESSABLE)


def denied(error: AccessError) -> GraphQLError:
    later = {"retryAfter": error.retry_after} if isinstance(error, RateLimited) else {}
    return problem(error.message, ACCESS_CODES.get(error.status, Code.UNAUTHENTICATED), **later)


def code_of(error: GraphQLError) -> Code:
    """The code of an error that `present` has passed."""
    return Code((error.extensions or {}).get("code", Code.INTERNAL))


def present(error: GraphQLError, context: Context | None) -> GraphQLError:
    """The error that may leave the process. What we did not write for a client is logged and masked."""
    if "code" in (error.extensions or {}):
        return error
    cause = error.original_error
    match cause:
        case None:
            return _with(error, error.message, {"code": Code.BAD_REQUEST.value})
        case GraphQLError():
            return _with(error, cause.message, cause.extensions or {"code": Code.BAD_REQUEST.value})
        case InvalidInput():
            bad_cursor = cause.code == Code.INVALID_CURSOR.value
            code = Code.INVALID_CURSOR if bad_cursor else Code.BAD_REQUEST
            return _with(error, cause.message, {"code": code.value, "field": cause.field})
        case NotFound():
            return _with(error, cause.message, {"code": Code.NOT_FOUND.value})
        case Conflict():
            return _with(error, cause.message, {"code": Code.BAD_REQUEST.value})
        case AccessError():
            return _with(error, cause.message, {"code": ACCESS_CODES.get(cause.status, Code.FORBIDDEN).value})
        case BadCursor():
            return _with(error, "That is not a cursor of this list", {"code": Code.BAD_REQUEST.value})
    request_id = context.request_id if context is not None else None
    is_away = unreachable(cause)
    told = {"error": type(cause).__name__} if is_away else {"exc_info": cause}
    log.error("field_failed", request_id=request_id, path=error.path, away=is_away, **told)
    ours = unavailable(cause) if is_away else problem(INTERNAL_MESSAGE, Code.INTERNAL)
    extensions = (ours.extensions or {}) | ({"requestId": request_id} if request_id else {})
    return _with(error, ours.message, extensions)


def _with(error: GraphQLError, message: str, extensions: Mapping[str, Any]) -> GraphQLError:
    return GraphQLError(
        message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions=dict(extensions),
    )
