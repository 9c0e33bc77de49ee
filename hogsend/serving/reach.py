"""How far an operation reaches: whether it reads, below its root fields, anything but what those hold themselves.

A root field that keys without the scope `read` may run, such as `eventIngest`, answers with what it made. From there
links and lists lead to the whole database. Decided on the document alone, whatever its directives leave out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLNamedType,
    GraphQLSchema,
    OperationDefinitionNode,
    get_named_type,
    is_abstract_type,
    is_composite_type,
    is_leaf_type,
)

from hogsend.graphql.node import KEY, Node
from hogsend.graphql.rows import WORKED_OUT
from hogsend.serving.selections import Below, fragments_of, selected

STRAWBERRY = "strawberry-definition"


def first_reach(
    schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode
) -> str | None:
    """A field, `Event.contact`, by which a valid operation leads to another object; None where none does."""
    root = schema.get_root_type(operation.operation)
    assert root is not None, "a prepared operation has a root type"
    fragments, spread = fragments_of(document), set[str]()
    waiting: Below = [(operation.selection_set, root)]
    while waiting:
        for node, parent in selected(schema, fragments, [waiting.pop()], spread):
            name = node.name.value
            if name.startswith("__"):
                continue
            if parent is not root and not is_own(schema, parent, name):
                return f"{parent.name}.{name}"
            if node.selection_set is not None:
                holder: Any = parent
                waiting.append((node.selection_set, get_named_type(holder.fields[name].type)))
    return None


def is_own(schema: GraphQLSchema, parent: GraphQLNamedType, name: str) -> bool:
    """Whether a field of a type holds what the object itself is made of, in every type that may stand there."""
    return all(_holds_its_own(kind, name) for kind in _possible(schema, parent))


def _possible(schema: GraphQLSchema, parent: Any) -> Iterator[Any]:
    if hasattr(parent, "fields"):
        yield parent
    if is_abstract_type(parent):
        yield from schema.get_possible_types(parent)


def _holds_its_own(kind: Any, name: str) -> bool:
    """A plain value, or one made of the object's own. Of something with an id, nothing that has fields in turn."""
    field = kind.fields[name]
    definition = field.extensions.get(STRAWBERRY)
    if definition is None:
        return False
    of = get_named_type(field.type)
    if _has_id(kind) and is_composite_type(of):
        return False
    is_attribute = definition.base_resolver is None
    return is_attribute or (is_leaf_type(of) and not definition.metadata.keys().isdisjoint({KEY, WORKED_OUT}))


def _has_id(kind: Any) -> bool:
    definition = kind.extensions.get(STRAWBERRY)
    return definition is not None and issubclass(definition.origin, Node)
