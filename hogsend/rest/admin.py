"""The admin plane: every route of the contract, in the order in which paths are matched."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from hogsend.access.client_address import address_of
from hogsend.access.gate import admit
from hogsend.rest import table
from hogsend.rest.admin_routes import (
    access,
    alerts,
    contact_changes,
    contacts,
    deadletters,
    emails,
    events,
    journeys,
    metrics,
    operations,
)
from hogsend.rest.errors import unanswered
from hogsend.rest.table import BASE, AdminRoute, Table

ROUTES: Sequence[AdminRoute] = (
    *contact_changes.ROUTES,
    *contacts.ROUTES,
    *journeys.ROUTES,
    *operations.ROUTES,
    *emails.ROUTES,
    *events.ROUTES,
    *access.ROUTES,
    *metrics.ROUTES,
    *alerts.ROUTES,
    *deadletters.ROUTES,
)


class AdminPlane(Table):
    """The admin routes of this process."""

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


routes = table.routes(ROUTES, lambda runtime: runtime.part(AdminPlane))
# The last of the application's routes under `/v1/admin`.
unanswered_routes = [Route(path, Unanswered()) for path in (BASE, BASE + "/{path:path}")]
