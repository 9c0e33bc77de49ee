"""OpenAPI 3.1, generated from the tables that answer the routes: what it says is what is served."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from hogsend.access.caller import Scope
from hogsend.contacts.export import MOST
from hogsend.rest import admin, table
from hogsend.rest.admin_routes.contacts import SEARCH
from hogsend.rest.answer_schema import answer_schema
from hogsend.rest.components import SCHEMAS, TEXT, Schema, reference
from hogsend.rest.data_plane import routes as data_plane
from hogsend.rest.data_plane.route import PERSON, DataRoute
from hogsend.rest.errors import JSONResponse
from hogsend.rest.models import Body
from hogsend.rest.params import Choice, Integer, Param
from hogsend.serving.execution import Executor
from hogsend.serving.server import executor

STATIC = Path(__file__).parent / "static"
JSON = "application/json"

REFUSALS: Mapping[int, str] = {
    400: "A parameter or the body is wrong; `error` names the field and what it takes",
    401: "No key, or one that is unknown, revoked or expired",
    403: "The key lacks the scope",
    404: "There is no such thing",
    409: "It exists, and its state does not allow this",
    413: "The body is too large",
    415: "The body says that it is something else than JSON in UTF-8",
    429: "The rate limit of the key is used up",
    503: "No key was ever made, or the database does not answer now: `Retry-After` says when to come back",
}


@dataclass(frozen=True)
class Operation:
    """One route, whichever table it comes from. A scope of None is open to any key; `public` to anybody."""

    method: str
    path: str
    summary: str
    status: int
    content: Mapping[str, Schema]
    scope: Scope | None = None
    public: bool = False
    query: Sequence[Param] = ()
    body: type[Body] | None = None
    refusals: tuple[int, ...] = ()

    @property
    def names(self) -> list[str]:
        """The names in the path."""
        return re.findall(r"{(\w+)}", self.path)


@dataclass(frozen=True)
class UncheckedText:
    """A parameter whose check is the handler's own."""

    extra: Mapping[str, Any] = field(default_factory=dict)

    def parse(self, text: str) -> str:
        return text

    def schema(self) -> Mapping[str, Any]:
        return {"type": "string", **self.extra}


_CSV_OR_JSON = Param("format", Choice(("csv", "json")), "Which kind of file; json unless told")
EXPORT = Operation(
    "GET",
    "/v1/admin/contacts/export",
    "All contacts as a file, one consistent snapshot",
    200,
    {
        JSON: {"type": "array", "items": reference("Contact")},
        "text/csv": TEXT,
    },
    Scope.READ,
    query=(
        _CSV_OR_JSON,
        SEARCH,
        Param("limit", Integer(1, MOST, MOST), "How many contacts at most"),
    ),
    refusals=(400,),
)
HEALTH = Operation(
    "GET",
    "/v1/health",
    "How the system is doing; 200 while it serves",
    200,
    {JSON: reference("Health")},
    public=True,
)


def operations() -> tuple[list[Operation], dict[str, Schema]]:
    """Every documented route, in the order of its table, and the components that they answer with, by name."""
    documents = executor(introspection=True)
    components: dict[str, Schema] = dict(SCHEMAS)
    return [
        HEALTH,
        EXPORT,
        *(_of_admin_route(route, documents, components) for route in admin.ROUTES),
        *(_of_data_route(route) for route in data_plane.ROUTES),
    ], components


def _of_admin_route(route: table.AdminRoute, documents: Executor, components: dict[str, Schema]) -> Operation:
    prepared = table.prepare(route, documents)
    # 400 for a parameter of the query that is not known, wherever there is no other mistake to make.
    refusals = {400}
    refusals |= {413, 415} if route.body is not None else set()
    refusals |= {404} if route.not_found is not None else set()
    refusals |= {409} if prepared.may_conflict else set()
    return Operation(
        route.method,
        table.BASE + route.path,
        route.summary,
        route.status,
        {JSON: answer_schema(route, prepared.document, documents.schema, components)},
        table.scope_of(prepared.document),
        query=route.query,
        body=route.body,
        refusals=tuple(sorted(refusals)),
    )


def _of_data_route(route: DataRoute) -> Operation:
    refusals = (400, 404, 413, 415) if route.not_found is not None else (400, 413, 415)
    return Operation(
        route.method,
        route.path,
        route.summary,
        route.status,
        {JSON: route.answer},
        Scope.INGEST,
        query=[Param(name, UncheckedText({"maxLength": 512}), PERSON) for name in route.query],
        body=route.body,
        refusals=refusals,
    )


def document() -> dict[str, Any]:
    """The OpenAPI document."""
    known, components = operations()
    paths: dict[str, dict[str, Any]] = {}
    for operation in known:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Hogsend",
            "version": version("hogsend"),
            "description": "REST over the GraphQL API: what a route can do, a document at `/graphql` can too.",
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "`hsk_…`"}},
            "schemas": {**components, **_bodies(operation.body for operation in known)},
            "headers": _HEADERS,
        },
    }


_HEADERS = {
    "X-RateLimit-Limit": {"schema": {"type": "integer"}, "description": "Requests a minute for this key"},
    "X-RateLimit-Remaining": {"schema": {"type": "integer"}, "description": "Requests left in the window"},
    "X-Request-Id": {"schema": TEXT, "description": "What to name when you report a problem"},
}


def _operation(operation: Operation) -> dict[str, Any]:
    opened = f"`{operation.scope.value}`" if operation.scope else "any"
    described: dict[str, Any] = {
        "operationId": _id(operation),
        "summary": operation.summary,
        "description": "No key is needed." if operation.public else f"Scope: {opened}.",
        "tags": [tag(operation.path)],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": TEXT} for name in operation.names
        ]
        + [
            {
                "name": param.name,
                "in": "query",
                "required": False,
                "description": param.description,
                "schema": param.type.schema(),
            }
            for param in operation.query
        ],
        "responses": _responses(operation),
    }
    if operation.public:
        described["security"] = []
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {JSON: {"schema": reference(operation.body.__name__)}},
        }
    return described


def _responses(operation: Operation) -> dict[str, Any]:
    headers = ["X-Request-Id"] if operation.public else list(_HEADERS)
    success = {
        "description": "Done",
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
        "content": {media: {"schema": schema} for media, schema in operation.content.items()},
    }
    refusals = () if operation.public else (*operation.refusals, 401, 403, 429, 503)
    return {str(operation.status): success} | {
        str(status): {"description": REFUSALS[status], "content": {JSON: {"schema": reference("Error")}}}
        for status in sorted(refusals)
    }


def _bodies(models: Iterable[type[Body] | None]) -> dict[str, Any]:
    """The schemas of bodies, and of what they are made of, by name. Raises `LookupError` for a name of two bodies."""
    found: dict[str, Any] = {}
    for model in dict.fromkeys(model for model in models if model is not None):
        if model.__name__ in found:
            raise LookupError(f"two bodies are called {model.__name__}: OpenAPI could show only one")
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        found.update(schema.pop("$defs", {}))
        found[model.__name__] = schema
    return found


def _id(operation: Operation) -> str:
    words = re.findall(r"\w+", operation.path.removeprefix("/v1").removeprefix("/admin"))
    plane = "" if "/admin" in operation.path or operation.public else "Data"
    return (
        operation.method.lower()
        + plane
        + "".join("".join(part[:1].upper() + part[1:] for part in re.split(r"[-_]", word)) for word in words)
    )


def tag(path: str) -> str:
    if not path.startswith(table.BASE):
        return "health" if path.endswith("/health") else "data plane"
    return path.removeprefix(table.BASE).split("/")[1]


class OpenApi:
    """The document of this process, made once."""

    def __init__(self, _runtime: object) -> None:
        self.document = document()

    async def close(self) -> None:
        """Nothing to close."""


async def openapi_json(request: Request) -> Response:
    """The OpenAPI 3.1 document."""
    return JSONResponse(request.app.state.runtime.part(OpenApi).document)


async def docs(_request: Request) -> Response:
    """The interactive page, which works without a network."""
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})


_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none';"
    " base-uri 'none'"
)


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Hogsend REST API</title>
<link rel="stylesheet" href="/docs/static/swagger-ui.css">
<link rel="icon" href="data:,">
</head>
<body>
<div id="page"></div>
<script src="/docs/static/swagger-ui-bundle.js"></script>
<script src="/docs/static/page.js"></script>
</body>
</html>
"""

routes: Sequence[BaseRoute] = [
    Route("/openapi.json", openapi_json, methods=["GET"]),
    Route("/docs", docs, methods=["GET"]),
    Mount("/docs/static", StaticFiles(directory=STATIC)),
]
