"""What a GraphQL request is made of, however it came: `query` or `documentId`, `variables`, `operationName`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from hogsend.graphql.errors import problem
from hogsend.json_bounds import TooManyValues, check_values
from hogsend.serving.execution import BAD_REQUEST, Refused

DEEPEST = 64
MEMBERS = ("query", "documentId", "operationName", "variables", "extensions")
LONGEST_NAME, MOST_NAMED = 40, 5


@dataclass(frozen=True)
class Params:
    """Well-formed, but neither parsed nor validated."""

    query: str | None
    document_id: str | None = None
    operation_name: str | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    after: str | None = None
    """`extensions.after`: the cursor that a subscription begins behind, whatever its arguments say."""


async def from_body(body: bytes) -> Params:
    """Raises `Refused`: 400 for what is not JSON or holds too many values, 422 for what is not a request."""
    try:
        await check_values(body)
        value = orjson.loads(body)
    except TooManyValues as error:
        raise Refused(problem(f"The body is too much: {error}"), status=BAD_REQUEST) from None
    except orjson.JSONDecodeError:
        raise Refused(problem("The body must be JSON in UTF-8"), status=BAD_REQUEST) from None
    return from_json(value)


def from_query(given: Mapping[str, str]) -> Params:
    """The same from a query string, where `variables` is JSON."""
    value: dict[str, Any] = dict(given)
    for name in ("variables", "extensions"):
        if name in value:
            try:
                value[name] = orjson.loads(value[name])
            except orjson.JSONDecodeError:
                raise Refused(problem(f"`{name}` must be JSON"), status=BAD_REQUEST) from None
    return from_json(value)


def from_json(value: Any) -> Params:
    """Raises `Refused` that names the parameter: 400 for one that no request has, 422 for one of another kind."""
    if isinstance(value, list):
        raise Refused(problem("Batching is off: send one request at a time"))
    if not isinstance(value, dict):
        raise Refused(problem("The body must be a JSON object"))
    if unknown := sorted(value.keys() - set(MEMBERS)):
        named = ", ".join(f"`{name[:LONGEST_NAME]}`" for name in unknown[:MOST_NAMED])
        raise Refused(problem(f"A request has no {named}; it takes {', '.join(MEMBERS)}"), status=BAD_REQUEST)
    for name in ("query", "documentId", "operationName"):
        if not isinstance(value.get(name), str | None):
            raise Refused(problem(f"`{name}` must be a string"))
    for name in ("variables", "extensions"):
        if not isinstance(value.get(name), dict | None):
            raise Refused(problem(f"`{name}` must be an object"))
    after = (value.get("extensions") or {}).get("after")
    if not isinstance(after, str | None):
        raise Refused(problem("`extensions.after` must be a cursor"))
    _check(value)
    return Params(
        query=value.get("query"),
        document_id=value.get("documentId"),
        operation_name=value.get("operationName"),
        variables=value.get("variables") or {},
        after=after,
    )


def _check(root: dict[str, Any]) -> None:
    """No NUL, which Postgres cannot store, in any string or key; and not so deep that recursion gives up."""
    waiting: list[tuple[Any, int]] = [(root, 0)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, str) and "\x00" in value:
            raise Refused(problem("Text must not contain NUL characters"))
        if isinstance(value, dict | list):
            if depth > DEEPEST:
                raise Refused(problem(f"Variables must not be nested deeper than {DEEPEST} levels"))
            waiting += [(item, depth + 1) for item in (value.values() if isinstance(value, dict) else value)]
            if isinstance(value, dict):
                waiting += [(key, depth + 1) for key in value]
