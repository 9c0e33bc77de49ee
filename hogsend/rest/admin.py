"""The admin plane: every row of the contract, in the order in which paths are matched."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from hogsend.access.client_address import address_of
from hogsend.access.gate import admit
from hogsend.rest import table
from hogsend.rest.errors import unanswered
from hogsend.rest.rows import (
    access,
    alerts,
    contact_changes,
    contacts,
    deadletters,
    emails,
    events,
    journeys,
    metrics,
    steering,
)
from hogsend.rest.table import BASE, Row, Table

ROWS: Sequence[Row] = (
    *contact_changes.ROWS,
    *contacts.ROWS,
    *journeys.ROWS,
    *steering.ROWS,
    *emails.ROWS,
    *events.ROWS,
    *access.ROWS,
    *metrics.ROWS,
    *alerts.ROWS,
    *deadletters.ROWS,
)


class AdminPlane(Table):
    """The rows of this process."""

    async def close(self) -> None:
        """Nothing to close."""


class Unanswered:
    """Every path and method of the admin plane that no route takes: 401 without a key, then 404 or 405.

    So nobody learns without a key what there is.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        admitted = await admit(
            request.app.state.runtime, request.headers.get("authorization"), address_of(request)
        )
        response = unanswered(request)
        response.headers.update(admitted.rate.headers)
        await response(scope, receive, send)


routes = table.routes(ROWS, lambda runtime: runtime.part(AdminPlane))
# The last of the application's routes under `/v1/admin`.
unanswered_routes = [Route(path, Unanswered()) for path in (BASE, BASE + "/{path:path}")]
