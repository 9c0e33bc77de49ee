"""`docs/rest.md`, from the tables that answer the routes: `python -m hogsend.rest.reference > docs/rest.md`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from starlette.routing import Route

from hogsend.rest import public, webhooks
from hogsend.rest.components import Schema
from hogsend.rest.models import Body
from hogsend.rest.openapi import JSON, REFUSALS, Operation, operations, tag
from hogsend.rest.params import LIMIT, OFFSET, Param

_INTRODUCTION = """\
# REST

Every route, generated from the tables that answer them (`python -m hogsend.rest.reference`). The same as OpenAPI 3.1
is at `/openapi.json`, and as a page to try it on at `/docs`. What a route can do, a document at `/graphql` can too.

- `Authorization: Bearer <key>`. Scopes: `read` < `journey-admin` < `full-admin`; `ingest` stands apart and is implied
  by `full-admin` alone.
- JSON in, JSON out. Instants are ISO 8601 in UTC with milliseconds; in queries with `Z` or any offset.
- Lists take `limit` (1-100, default 50) and `offset` (default 0), and answer `{<plural>: […], total, limit, offset}`.
- Every response carries `X-Request-Id`; every authenticated one `X-RateLimit-Limit` and `X-RateLimit-Remaining`.
- The data plane (scope `ingest`) counts its requests apart from the admin plane: `HOGSEND_INGEST_RATE_LIMIT` and
  `HOGSEND_RATE_LIMIT`, both a minute and a key.
- What is not known is refused: a field of a body, or a parameter of a query, that the route does not take is a 400
  that names it, what is taken, and the nearest name; so is a parameter that is there twice. On the data plane too: a
  misspelt `eventProperties` that was accepted in silence would lose what it holds, and nobody would hear of it; a
  client that sends what this page shows never notices. `properties`, `props` and the like take any names inside them.
  The webhooks and the readers' pages take what others send, and look at what they know.
- `?` after a name: it may be left out. `?` after a type: it may be null.
"""


_TITLES = {"api-keys": "API keys", "dlq": "Dead letters"}


def markdown() -> str:
    """The whole page."""
    known, components = operations()
    tags = list(dict.fromkeys(tag(operation.path) for operation in known))
    parts = [_INTRODUCTION, _refusals()]
    for name in tags:
        rows = [_row(operation) for operation in known if tag(operation.path) == name]
        parts.append(
            _section(
                _TITLES.get(name, name.replace("-", " ").capitalize()),
                ("route", "scope", "takes", "answers"),
                rows,
            )
        )
    parts += [_public(), _components(components)]
    return "\n".join(parts)


def _refusals() -> str:
    rows = [(str(status), says) for status, says in REFUSALS.items()]
    rows.append(("500", "A fault of ours; `requestId` is what to name when you report it"))
    return _section("Errors", ("status", "when"), rows) + (
        "\nAlways `{error: <sentence>}`; a 400 also says `details: [{path, message}]`.\n"
    )


def _public() -> str:
    rows = [
        (f"`{method} {route.path}`", _first_line(route.endpoint))
        for route in (*webhooks.routes, *public.routes)
        if isinstance(route, Route)
        for method in sorted((route.methods or set()) - {"HEAD"})
    ]
    text = "Without a key: each proves itself by its own token or signature.\n\n"
    return _section("Public routes", ("route", "does"), rows, text)


def _components(components: Mapping[str, Schema]) -> str:
    rows = [(name, _shape(schema)) for name, schema in components.items()]
    return _section("Things", ("name", "looks like"), rows, "What the names in the tables above stand for.")


def _first_line(endpoint: object) -> str:
    text = (inspect.getdoc(endpoint) or "").split("\n\n")[0].replace("\n", " ")
    return text.split(": ", 1)[1] if text.startswith(("GET ", "POST ")) and ": " in text else text


def _row(operation: Operation) -> tuple[str, ...]:
    opened = "none" if operation.public else operation.scope.value if operation.scope else "any"
    route = f"`{operation.method} {operation.path}`<br>{operation.summary}"
    answers = "<br>".join(
        f"{operation.status} {_shape(schema) if media == JSON else media}"
        for media, schema in operation.content.items()
    )
    refusals = "".join(f"; {status}" for status in operation.refusals if status not in (413, 415))
    return route, opened, _takes(operation), answers + refusals


def _takes(operation: Operation) -> str:
    query = [_param(param) for param in operation.query if param not in (LIMIT, OFFSET)]
    if LIMIT in operation.query:
        query.append("limit, offset")
    body = [_body(operation.body)] if operation.body is not None else []
    return "<br>".join([*body, ", ".join(query)] if query else body)


def _param(param: Param) -> str:
    words = param.type.schema().get("enum")
    return param.name + "=" + "\\|".join(words) if words else param.name


def _body(model: type[Body]) -> str:
    schema = model.model_json_schema()
    required = schema.get("required", ())
    names = [name if name in required else f"{name}?" for name in schema["properties"]]
    return f"`{{{', '.join(names)}}}`"


def _shape(schema: Mapping[str, Any]) -> str:
    """A schema as the contract writes it: `{contacts: [Contact], total, limit, offset}`."""
    return f"`{_brief(schema)}`"


def _brief(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[1]
    if "anyOf" in schema:
        return f"{_brief(schema['anyOf'][0])}?"
    if schema.get("type") == "array":
        return f"[{_brief(schema['items'])}]"
    if schema.get("properties"):
        required = schema.get("required", ())
        fields = (_field(name, part, name in required) for name, part in schema["properties"].items())
        return f"{{{', '.join(fields)}}}"
    if "oneOf" in schema:
        return " or ".join(_brief(part) for part in schema["oneOf"])
    if "const" in schema:
        return str(schema["const"]).lower() if isinstance(schema["const"], bool) else str(schema["const"])
    return ""


def _field(name: str, schema: Mapping[str, Any], required: bool) -> str:
    brief = _brief(schema)
    mark = "" if required else "?"
    return f"{name}{mark}" + (f": {brief}" if brief.strip("?") else brief)


def _section(title: str, head: Sequence[str], rows: Iterable[Sequence[str]], text: str = "") -> str:
    lines = [f"## {title}\n", *([text.rstrip("\n") + "\n"] if text else [])]
    lines += [_line(head), _line(["---"] * len(head)), *(_line(row) for row in rows)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.stdout.write(markdown())
