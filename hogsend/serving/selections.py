"""What a selection asks for: its fields, through fragments, each with the type that it is selected of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    SelectionSetNode,
)

Below: TypeAlias = list[tuple[SelectionSetNode, GraphQLNamedType]]
"""Selections that are made of one level's objects, each with the type that it is made of."""


def fragments_of(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    """The fragments of a document by their names."""
    return {
        node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
    }


def selected(
    schema: GraphQLSchema,
    fragments: Mapping[str, FragmentDefinitionNode],
    below: Below,
    spread: set[str] | None = None,
) -> Iterator[tuple[FieldNode, GraphQLNamedType]]:
    """The fields of one level, each with the type that it is selected of; a fragment once, however often it is spread.

    `spread` are the fragments that were walked before: give one set for several levels, and each is walked once in all.
    """
    spread = set() if spread is None else spread
    waiting = list(below)
    while waiting:
        selections, parent = waiting.pop()
        for node in selections.selections:
            match node:
                case FieldNode():
                    yield node, parent
                case InlineFragmentNode():
                    condition = node.type_condition
                    kind = parent if condition is None else schema.type_map[condition.name.value]
                    waiting.append((node.selection_set, kind))
                case FragmentSpreadNode() if node.name.value not in spread:
                    spread.add(node.name.value)
                    fragment = fragments[node.name.value]
                    waiting.append(
                        (fragment.selection_set, schema.type_map[fragment.type_condition.name.value])
                    )
