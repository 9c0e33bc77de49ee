"""Hold every answer that a test gets to the OpenAPI document, so that each test of a route is one of its schema."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import httpx
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from hogsend.rest.openapi import document

SHOWN = 5
DOCUMENT = "urn:hogsend:openapi"


@cache
def spec() -> dict[str, Any]:
    return document()


@cache
def _paths() -> list[tuple[re.Pattern[str], str]]:
    """Fixed paths first, as the router has them."""
    paths = sorted(spec()["paths"], key=lambda path: path.count("{"))
    return [(re.compile(re.sub(r"{\w+}", "[^/]+", path)), path) for path in paths]


@cache
def _validator(path: str, method: str, status: str) -> Draft202012Validator | None:
    operation = spec()["paths"][path].get(method)
    if operation is None:
        return None
    content = operation["responses"].get(status, {}).get("content", {}).get("application/json")
    if content is None:
        raise AssertionError(f"{method.upper()} {path} answered {status}, which OpenAPI does not know")
    pointer = f"/paths/{path.replace('/', '~1')}/{method}/responses/{status}/content/application~1json/schema"
    return Draft202012Validator({"$ref": f"{DOCUMENT}#{pointer}"}, registry=_registry())


@cache
def _registry() -> Registry[Any]:
    return Registry().with_resource(DOCUMENT, DRAFT202012.create_resource(spec()))


async def conforms(response: httpx.Response) -> None:
    """An httpx response hook. Raises `AssertionError` for an answer that the document does not describe."""
    found = next((path for pattern, path in _paths() if pattern.fullmatch(response.request.url.path)), None)
    if found is None or response.status_code in (405, 500):
        return
    if not response.headers.get("content-type", "").startswith("application/json"):
        return
    validator = _validator(found, response.request.method.lower(), str(response.status_code))
    if validator is None:
        return
    await response.aread()
    wrong = [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
        for error in validator.iter_errors(response.json())
    ]
    assert not wrong, f"{response.request.method} {found}: {wrong[:SHOWN]}"
