"""Contact export, `GET /v1/admin/contacts/export`: a file that streams, audited although it is a GET."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import structlog
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Send

from hogsend.access.audit import Action, AuditAction, Origin, Resource, audited
from hogsend.access.caller import Scope
from hogsend.access.client_address import address_of
from hogsend.access.gate import Admitted, admit
from hogsend.contacts.export import MEDIA_TYPES, MOST, Format, exported
from hogsend.errors import HogsendError, InvalidInput
from hogsend.rest.errors import on_hogsend_error
from hogsend.rest.params import check_names
from hogsend.runtime import Runtime

PATH = "/v1/admin/contacts/export"
MAX_SEARCH = 320
LONGEST_STALL = 30.0

log = structlog.get_logger(__name__)


class UnlessStalled(StreamingResponse):
    """A stream that ends when its reader takes nothing for `LONGEST_STALL` seconds: it holds a snapshot open."""

    async def stream_response(self, send: Send) -> None:
        async def in_time(message: Message) -> None:
            async with asyncio.timeout(LONGEST_STALL):
                await send(message)

        try:
            await super().stream_response(in_time)
        except TimeoutError:
            log.warning("export_stalled", seconds=LONGEST_STALL)
            # What was sent is not the whole file: the connection must not end as if it were.
            raise ConnectionError("the reader of an export stalled") from None


async def export_contacts(request: Request) -> Response:
    """Answer with the file's first piece in hand, so that what goes wrong before it is still an error's status."""
    runtime: Runtime = request.app.state.runtime
    admitted = await admit(runtime, request.headers.get("authorization"), address_of(request))
    admitted.require(Scope.READ)
    try:
        response: Response = await _export(runtime, request, admitted)
    except HogsendError as error:
        response = on_hogsend_error(request, error)
    response.headers.update(admitted.rate.headers)
    return response


async def _export(runtime: Runtime, request: Request, admitted: Admitted) -> Response:
    form, search, limit = _asked(request)
    origin = Origin(
        admitted.caller,
        address_of(request),
        request.scope.get("state", {}).get("request_id"),
    )
    async with audited(runtime, origin, AuditAction(Action.EXPORT, Resource.CONTACT), f"GET {PATH}") as trail:
        trail.detail.update({"format": form, "search": search, "limit": limit})
        pieces = _pieces(runtime, form, search, limit)
        first = await anext(pieces)
    return UnlessStalled(
        _beginning_with(first, pieces),
        media_type=MEDIA_TYPES[form],
        headers={"Content-Disposition": f'attachment; filename="contacts.{form}"'},
    )


def _asked(request: Request) -> tuple[Format, str | None, int]:
    query = request.query_params
    check_names(("format", "search", "limit"), query)
    form = query.get("format", "json")
    if form not in MEDIA_TYPES:
        raise InvalidInput("format", "format must be csv or json")
    search = query.get("search") or None
    if search is not None and (len(search) > MAX_SEARCH or "\x00" in search):
        raise InvalidInput("search", f"search must be at most {MAX_SEARCH} characters, without NUL")
    limit = query.get("limit", str(MOST))
    if not (limit.isascii() and limit.isdecimal() and len(limit) < 6 and 1 <= int(limit) <= MOST):
        raise InvalidInput("limit", f"limit must be an integer from 1 to {MOST}")
    return cast(Format, form), search, int(limit)


async def _pieces(runtime: Runtime, format: Format, search: str | None, limit: int) -> AsyncIterator[bytes]:
    async with exported(runtime.database, format, search=search, limit=limit) as pieces:
        async for piece in pieces:
            yield piece


async def _beginning_with(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


routes = [Route(PATH, export_contacts, methods=["GET"])]
