"""What the audit log keeps of a mutation that was refused before it began: which field was wrong, never what it held.

GraphQL's own sentences quote the value that does not fit, and with a misspelt field all of the input beside it. Its
sender may hear that; whoever reads the audit log may not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graphql import (
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    is_input_type,
    is_non_null_type,
    type_from_ast,
    validate_input_value,
)

UNFIT = "The value does not fit its type"
NOT_BEGUN = "The request was refused before it began"
MOST_PATHS = 20


def on_record(
    errors: Sequence[GraphQLError],
    schema: GraphQLSchema,
    operation: OperationDefinitionNode,
    variables: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """The errors of one refusal: ours word for word, for each variable that does not fit the path to what is wrong."""
    if all("code" in (error.extensions or {}) for error in errors):
        return [{"code": (error.extensions or {})["code"], "message": error.message} for error in errors]
    paths = list(dict.fromkeys(_unfit(schema, operation, variables)))[:MOST_PATHS]
    return [{"code": "BAD_REQUEST", "field": list(path), "message": UNFIT} for path in paths] or [
        {"code": "BAD_REQUEST", "message": NOT_BEGUN}
    ]


def _unfit(
    schema: GraphQLSchema, operation: OperationDefinitionNode, variables: Mapping[str, Any]
) -> Iterator[tuple[str, ...]]:
    for definition in operation.variable_definitions or ():
        name = definition.variable.name.value
        kind = type_from_ast(schema, definition.type)
        if kind is None or not is_input_type(kind):
            continue
        if name not in variables:
            if is_non_null_type(kind) and definition.default_value is None:
                yield (name,)
            continue
        found: list[tuple[str, ...]] = []

        def note(_error: GraphQLError, path: list[str | int], name: str = name, found: Any = found) -> None:
            found.append((name, *map(str, path)))

        validate_input_value(variables[name], kind, note)
        yield from found
