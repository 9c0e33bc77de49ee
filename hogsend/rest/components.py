"""JSON Schemas that no document derives: the kinds of values, an error, the health of the system."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Schema: TypeAlias = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
ID: Schema = {"type": "string", "format": "uuid"}
AT: Schema = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
    "examples": ["2026-01-15T10:30:00.000Z"],
}
COUNT: Schema = {"type": "integer", "minimum": 0}
DATE: Schema = {"type": "string", "format": "date"}
RATE: Schema = {"type": "number", "minimum": 0}
YES: Schema = {"type": "boolean"}
ANYTHING: Schema = {"type": "object"}


def words(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def maybe(schema: Schema) -> Schema:
    """It may be null."""
    return {"anyOf": [schema, {"type": "null"}]}


def several(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def with_optional(required: Mapping[str, Schema], optional: Mapping[str, Schema]) -> Schema:
    """An object some of whose properties may be left out."""
    whole = dict(obj(required))
    return whole | {"properties": {**whole["properties"], **optional}}


def thing(name: str) -> Schema:
    """A reference to the component of this name."""
    return {"$ref": f"#/components/schemas/{name}"}


def obj(properties: Mapping[str, Schema]) -> Schema:
    """An object with exactly these properties."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


SCHEMAS: Mapping[str, Schema] = {
    "Error": with_optional(
        {"error": TEXT}, {"details": several(obj({"path": TEXT, "message": TEXT})), "requestId": TEXT}
    ),
    "Health": obj(
        {
            "status": words("healthy", "degraded", "migration_pending"),
            "uptime": RATE,
            "timestamp": AT,
            "version": TEXT,
            "components": obj(
                dict.fromkeys(
                    ("database", "redis", "engine"),
                    obj({"status": words("up", "down"), "latencyMs": RATE}),
                )
            ),
            "schema": obj(
                {
                    "engine": obj(
                        {
                            "required": maybe(TEXT),
                            "applied": maybe(TEXT),
                            "inSync": YES,
                            "pending": several(TEXT),
                        }
                    )
                }
            ),
        }
    ),
}
