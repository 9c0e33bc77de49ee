"""JSON Schemas of answers, for OpenAPI: the things are named here and described once, in its components."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]


def thing(name: str) -> Schema:
    """`Contact`, `Contact?` where it may be null, `[Contact]` for several."""
    if name.endswith("?"):
        return {"anyOf": [thing(name[:-1]), {"type": "null"}]}
    if name.startswith("["):
        return {"type": "array", "items": thing(name[1:-1])}
    return {"$ref": f"#/components/schemas/{name}"}


def things(**names: str) -> Schema:
    """An object of named things."""
    return obj({key: thing(name) for key, name in names.items()})


def page(plural: str, name: str) -> Schema:
    """`{<plural>: […], total, limit, offset}`."""
    number = {"type": "integer", "minimum": 0}
    return obj({plural: thing(f"[{name}]"), "total": number, "limit": number, "offset": number})


def obj(properties: Mapping[str, Schema]) -> Schema:
    """An object with exactly these properties."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
