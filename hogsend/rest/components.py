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


def enum_of(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def nullable(schema: Schema) -> Schema:
    """A value of the schema, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def array_of(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def with_optional(required: Mapping[str, Schema], optional: Mapping[str, Schema]) -> Schema:
    """An object some of whose properties may be left out."""
    whole = dict(object_of(required))
    return whole | {"properties": {**whole["properties"], **optional}}


def reference(name: str) -> Schema:
    """A reference to the component of this name."""
    return {"$ref": f"#/components/schemas/{name}"}


def object_of(properties: Mapping[str, Schema]) -> Schema:
    """An object with exactly these properties."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


SCHEMAS: Mapping[str, Schema] = {
    "Error": with_optional(
        {"error": TEXT}, {"details": array_of(object_of({"path": TEXT, "message": TEXT})), "requestId": TEXT}
    ),
    "Health": object_of(
        {
            "status": enum_of("healthy", "degraded", "migration_pending"),
            "uptime": RATE,
            "timestamp": AT,
            "version": TEXT,
            "components": object_of(
                dict.fromkeys(
                    ("database", "redis", "engine"),
                    object_of({"status": enum_of("up", "down"), "latencyMs": RATE}),
                )
            ),
            "schema": object_of(
                {
                    "engine": object_of(
                        {
                            "required": nullable(TEXT),
                            "applied": nullable(TEXT),
                            "inSync": YES,
                            "pending": array_of(TEXT),
                        }
                    )
                }
            ),
        }
    ),
}
