"""A route of the data plane: how it is declared, and the endpoint that admits, answers and refuses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hogsend.access.caller import Scope
from hogsend.access.client_address import address_of
from hogsend.access.gate import admit
from hogsend.access.rate_limits import Plane
from hogsend.errors import HogsendError
from hogsend.rest.errors import JSONResponse, on_hogsend_error
from hogsend.rest.models import Body
from hogsend.rest.params import check_names
from hogsend.rest.route import RestRoute
from hogsend.runtime import Runtime

PERSON = "One of `email` and `userId` says who it is."

Handler = Callable[[Runtime, Request], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True)
class DataRoute(RestRoute):
    """One route of the data plane. `answer` is the JSON Schema of its success."""

    handler: Handler
    status: int
    answer: Mapping[str, Any]
    body: type[Body] | None = None
    query: tuple[str, ...] = ()
    not_found: str | None = None

    def for_starlette(self) -> Route:
        return Route(self.path, self._endpoint, methods=[self.method])

    async def _endpoint(self, request: Request) -> Response:
        """Admit the key under the data plane's own rate, then answer; errors leave as the contract writes them."""
        runtime: Runtime = request.app.state.runtime
        admitted = await admit(runtime, request.headers.get("authorization"), address_of(request), Plane.DATA)
        admitted.require(Scope.INGEST)
        request.state.admitted = admitted
        try:
            check_names(self.query, request.query_params)
            response: Response = JSONResponse(await self.handler(runtime, request), self.status)
        except HogsendError as error:
            response = on_hogsend_error(request, error)
        response.headers.update(admitted.rate.headers)
        return response
