"""What an answer really cost: the points of the objects that it holds, by a tree that is made once a document."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLNamedType,
    GraphQLSchema,
    OperationDefinitionNode,
    get_named_type,
)

from hogsend.serving.limits import FREE_FIELDS, definition_of, entry_points, own_points
from hogsend.serving.selections import Below, fragments_of, selected


@dataclass(frozen=True)
class _Counted:
    """A key of the answer: points for each object under it, and besides; what is counted within those objects."""

    key: str
    each: int
    besides: int
    within: tuple[_Counted, ...]


class ResultCost:
    """How many points of what an operation asks for its answers hold."""

    def __init__(
        self, schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode
    ) -> None:
        self._schema = schema
        self._fragments = fragments_of(document)
        root = schema.get_root_type(operation.operation)
        assert root is not None, "validated: the schema has such operations"
        self._counted = self._tree([(operation.selection_set, root)], entry=1)

    def of(self, data: object) -> int:
        """Points of one answer."""
        return _points(self._counted, [data]) if isinstance(data, dict) else 0

    def _tree(self, below: Below, entry: int) -> tuple[_Counted, ...]:
        """What is selected, by the key it has in the answer, whatever fragments it is spread over."""
        found: dict[str, tuple[int, int, int, Below]] = {}
        for node, parent in selected(self._schema, self._fragments, below):
            self._note(found, node, parent, entry)
        return tuple(
            _Counted(key, each, besides, self._tree(deeper, entries))
            for key, (each, besides, entries, deeper) in found.items()
        )

    def _note(
        self,
        found: dict[str, tuple[int, int, int, Below]],
        node: FieldNode,
        parent: GraphQLNamedType,
        entry: int,
    ) -> None:
        name = node.name.value
        field = definition_of(parent, name)
        if field is None or node.selection_set is None or name in FREE_FIELDS:
            return
        key = node.alias.value if node.alias else name
        each, besides = own_points(parent.name, name, field, entry)
        deeper = found.setdefault(key, (each, besides, entry_points(field), []))[3]
        deeper.append((node.selection_set, get_named_type(field.type)))


def _points(counted: tuple[_Counted, ...], objects: list[dict[str, Any]]) -> int:
    """Points below all objects of a level."""
    points = 0
    for one in counted:
        items = [value for value in map(dict.get, objects, repeat(one.key)) if value is not None]
        # Which of both it is, every object of a level has alike: so validation wants it.
        while items and type(items[0]) is list:
            items = [item for part in items for item in part if item is not None]
        if items and type(items[0]) is not dict:
            items = []
        points += len(items) * one.each + len(objects) * one.besides
        if one.within and items:
            points += _points(one.within, items)
    return points
