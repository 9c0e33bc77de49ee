"""The admin plane as a table of routes over GraphQL documents, and the one function that answers all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphql import GraphQLError, OperationType
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hogsend.access.audit import AuditAction, Origin, Outcome, audited
from hogsend.access.caller import Scope
from hogsend.access.client_address import address_of
from hogsend.access.gate import Admitted, admit
from hogsend.errors import HogsendError, NotFound
from hogsend.graphql.codes import CONFLICTS, IDEMPOTENCY, NOT_FOUND
from hogsend.graphql.context import Context
from hogsend.graphql.errors import Code, code_of, is_unavailable
from hogsend.graphql.mutations import AUDIT_ACTION, ERROR_CODES
from hogsend.rest.body import json_object
from hogsend.rest.errors import INTERNAL, JSONResponse, error_response, on_hogsend_error
from hogsend.rest.models import Body, parsed
from hogsend.rest.params import Param, read
from hogsend.rest.route import RestRoute
from hogsend.runtime import Runtime
from hogsend.serving.execution import Answer, Executor, Prepared
from hogsend.serving.server import GraphQLServer

BASE = "/v1/admin"
LONGEST_INNER_LIST = 10_000


@dataclass(frozen=True)
class RequestInput:
    """A request, checked: names of the path, parameters of the query, the body."""

    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Any = None

    @property
    def page(self) -> dict[str, Any]:
        """`limit` and `offset` as the documents' variables."""
        return {"first": self.query["limit"], "offset": self.query["offset"]}

    @property
    def names(self) -> dict[str, Any]:
        """What stands in the path and in the query as the documents' variables, by the same names."""
        page = self.page if "limit" in self.query else {}
        return {**self.path, **self.query, **page}


class Named(dict[str, Any]):
    """An object of an answer; `name` is that of its component in OpenAPI, where it has just the fields `of`."""

    def __init__(
        self, fields: Mapping[str, Any], name: str | None = None, of: frozenset[str] | None = None
    ) -> None:
        super().__init__(fields)
        self.name = name
        self.of = of

    def __or__(self, other: Any) -> Named:  # type: ignore[override]
        return Named(dict(self) | dict(other), self.name, self.of)


@dataclass(frozen=True)
class AdminRoute(RestRoute):
    """One route of the admin plane: a GraphQL document, its variables of the request, the answer of its data.

    The path is the one below `/v1/admin`; its names and those of the query are the variables unless `take` says
    otherwise. The scope is what the document's root fields want. `give` raises `NotFound` where the data has null for
    what the path names, by the word `not_found`; OpenAPI's schema of the success is derived from it
    (`answer_schema.py`).
    """

    document: str
    give: Callable[[dict[str, Any], RequestInput], Any]
    take: Callable[[RequestInput], dict[str, Any]] = lambda given: given.names
    query: Sequence[Param] = ()
    body: type[Body] | None = None
    status: int = 200
    not_found: str | None = None

    def __post_init__(self) -> None:
        if "{" in self.path and self.not_found is None:
            raise TypeError(f"{self.operation}: say in not_found what it is that the path names")


@dataclass(frozen=True)
class PreparedRoute:
    """A route whose document is parsed and validated, with what its mutation declares: audit action, error codes."""

    route: AdminRoute
    document: Prepared
    audit_action: AuditAction | None = None
    error_codes: frozenset[str] = frozenset()

    @property
    def may_conflict(self) -> bool:
        """Whether it can answer 409. No route gives its mutation an idempotency key."""
        return not self.error_codes.isdisjoint(CONFLICTS.keys() - IDEMPOTENCY)


def prepare(route: AdminRoute, executor: Executor) -> PreparedRoute:
    """Raises `Refused` for a document that does not fit the schema."""
    prepared = executor.prepare(route.document)
    if prepared.kind is not OperationType.MUTATION:
        return PreparedRoute(route, prepared)
    assert executor.schema.mutation_type is not None, "validated: there are mutations"
    root: Any = prepared.operation.selection_set.selections[0]
    definition = executor.schema.mutation_type.fields[root.name.value].extensions["strawberry-definition"]
    return PreparedRoute(route, prepared, definition.metadata[AUDIT_ACTION], definition.metadata[ERROR_CODES])


def scope_of(prepared: Prepared) -> Scope | None:
    """What a route asks for: what its document's root fields want, which is one scope."""
    scopes = sorted(prepared.scopes)
    assert len(scopes) <= 1, "a route's document stays within one scope"
    return scopes[0] if scopes else None


class Table:
    """The routes of one process. A document is prepared when it is first asked for; a test prepares all of them."""

    def __init__(self, runtime: Runtime) -> None:
        self._server = runtime.part(GraphQLServer)
        self._prepared: dict[str, PreparedRoute] = {}

    def prepare(self, route: AdminRoute) -> PreparedRoute:
        """Raises `Refused` where the document does not fit the schema."""
        if route.operation not in self._prepared:
            self._prepared[route.operation] = prepare(route, self._server.executor)
        return self._prepared[route.operation]

    async def answer(self, request: Request, route: AdminRoute) -> Response:
        """One request, from its key to its answer. Errors leave here as the contract writes them."""
        runtime = self._server.runtime
        admitted = await admit(runtime, request.headers.get("authorization"), address_of(request))
        try:
            response = await self._audited(request, self.prepare(route), admitted)
        except HogsendError as error:
            response = on_hogsend_error(request, error)
        response.headers.update(admitted.rate.headers)
        return response

    async def _audited(self, request: Request, prepared: PreparedRoute, admitted: Admitted) -> Response:
        if prepared.audit_action is None:
            return await self._run(request, prepared, admitted)
        origin = Origin(admitted.caller, address_of(request), request.state.request_id)
        named = next(reversed(request.path_params.values()), None)
        async with audited(
            self._server.runtime, origin, prepared.audit_action, prepared.route.operation, resource_id=named
        ) as trail:
            response = await self._run(request, prepared, admitted)
            if response.status_code >= 400 and trail.outcome is Outcome.OK:
                trail.refuse([{"message": f"answered {response.status_code}"}])
            return response

    async def _run(self, request: Request, prepared: PreparedRoute, admitted: Admitted) -> Response:
        route = prepared.route
        admitted.require(scope_of(prepared.document))
        if any("\x00" in name for name in request.path_params.values()):
            assert route.not_found is not None, "checked: a path with a name says what is not found"
            raise NotFound(route.not_found)  # which Postgres could not even be asked for
        given = RequestInput(
            path=request.path_params,
            query=read(route.query, request.query_params),
            body=None if route.body is None else parsed(route.body, await json_object(request)),
        )
        context = Context(
            self._server.runtime,
            admitted.caller,
            request_id=request.state.request_id,
            ip_address=address_of(request),
            longest_page=LONGEST_INNER_LIST,
        )
        answer = await self._server.executor.execute(
            prepared.document, route.take(given), context, limited=False
        )
        if answer.errors:
            return _failed(answer, context.request_id)
        assert answer.data is not None, "an answer without errors has data"
        return refusal(answer.data) or JSONResponse(route.give(answer.data, given), route.status)


def refusal(data: Mapping[str, Any]) -> Response | None:
    """The error response that a mutation's user errors are in REST; None where there are none."""
    for payload in data.values():
        errors = payload.get("userErrors") if isinstance(payload, dict) else None
        if errors:
            status = _status(errors[0]["code"])
            wrong = [(".".join(error["field"]), error["message"]) for error in errors]
            return error_response(status, errors[0]["message"], details=wrong if status == 400 else ())
    return None


def _status(code: str) -> int:
    if code == NOT_FOUND:
        return 404
    return 409 if code in CONFLICTS else 400


def _failed(answer: Answer, request_id: str) -> Response:
    """A top-level error: what we broke, or what only GraphQL found wrong with the request."""
    error = answer.errors[0]
    if is_unavailable(error):
        return _unavailable(error, request_id)
    match code_of(error):
        case Code.INTERNAL:
            return error_response(500, INTERNAL, request_id=request_id)
        case Code.NOT_FOUND:
            return error_response(404, error.message)
        case Code.FORBIDDEN:
            return error_response(403, error.message)
    field = str((error.extensions or {}).get("field", ""))
    return error_response(400, error.message, details=[(field, error.message)])


def _unavailable(error: GraphQLError, request_id: str) -> Response:
    """503, as GraphQL said it: the sentence, and when to come back."""
    after = str((error.extensions or {}).get("retryAfter"))
    return error_response(503, error.message, request_id=request_id, headers={"Retry-After": after})


def routes(admin_routes: Sequence[AdminRoute], table: Callable[[Runtime], Table]) -> list[Route]:
    """The routes for Starlette, in their order: a fixed path stands before one with a name in its place."""
    return [
        Route(BASE + route.path, _endpoint(route, table), methods=[route.method]) for route in admin_routes
    ]


def _endpoint(route: AdminRoute, table: Callable[[Runtime], Table]) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        return await table(request.app.state.runtime).answer(request, route)

    return endpoint
