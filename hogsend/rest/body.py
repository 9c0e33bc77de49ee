"""JSON request bodies: read so that they can be stored; whatever is wrong with one is a 400 that says what."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request

from hogsend.content_types import is_json
from hogsend.errors import InvalidInput
from hogsend.json_bounds import TooManyValues, check_values

MAX_DEPTH = 64


async def json_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object; an empty body is an empty one.

    Raises `InvalidInput`, and 415 for a body that says it is something else. One that says nothing is taken for JSON.
    """
    body = await bounded(request)
    content_type = request.headers.get("content-type", "")
    if body and content_type and not is_json(content_type):
        raise HTTPException(415, "Content-Type must be application/json, in UTF-8")
    return parse_object(body)


async def bounded(request: Request) -> bytes:
    """The body, before it is parsed. Raises `InvalidInput` for one that holds too many values."""
    body = await request.body()
    try:
        await check_values(body)
    except TooManyValues as error:
        raise InvalidInput("body", f"The body is too much: {error}") from None
    return body


def parse_object(body: bytes) -> dict[str, Any]:
    """Raises `InvalidInput` for what is not JSON, not an object, nested too deeply, or not storable as text."""
    value = _loaded(body)
    check_storable(value)
    return value


async def items_apart(request: Request) -> dict[str, Any]:
    """The body as a JSON object whose strings and depth nobody has looked at yet: `check_storable` does, item by item.

    Raises `InvalidInput` for what is not JSON, or not an object.
    """
    return _loaded(await bounded(request))


def _loaded(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidInput("body", f"The body must be valid JSON in UTF-8; it is not at {place}") from None
    if not isinstance(value, dict):
        raise InvalidInput("body", "The body must be a JSON object")
    return value


def check_storable(root: dict[str, Any]) -> None:
    """Every string, keys too, without NUL, which Postgres cannot store; surrogates orjson has refused.

    Raises `InvalidInput`. Depth is bounded, so that whoever walks the value later may recurse.
    """
    waiting: list[tuple[str, Any, int]] = [("", root, 1)]
    while waiting:
        path, value, depth = waiting.pop()
        if isinstance(value, str):
            if "\x00" in value:
                raise InvalidInput(path, f"{path} must not contain NUL characters")
        elif isinstance(value, dict | list):
            if depth > MAX_DEPTH:
                top = path.split(".", 1)[0]
                raise InvalidInput(top, f"{top} must not be nested deeper than {MAX_DEPTH} levels")
            if isinstance(value, dict):
                if any("\x00" in key for key in value):
                    raise InvalidInput(path or "body", "Keys must not contain NUL characters")
                items: Any = value.items()
            else:
                items = enumerate(value)
            waiting += [(f"{path}.{key}" if path else str(key), item, depth + 1) for key, item in items]
