"""The shape of an operation: what is selected of which type, in order, collected once a document.

A shape depends on variables only where `@skip` and `@include` name them: `Shapes` keeps one for each of their values.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    VariableNode,
    get_named_type,
)
from graphql.execution.collect_fields import FieldDetails, FragmentDetails, collect_fields, collect_subfields
from graphql.execution.values import VariableValues
from graphql.language.ast import QUERY_DOCUMENT_KEYS

TYPENAME = "__typename"
MOST_SHAPES = 16


class NotPlanned(Exception):
    """This operation is left to graphql-core: it asks for what no plan covers, or a field of it went wrong."""


@dataclass(frozen=True)
class Collected:
    """What collecting needs: the schema, the document's fragments, and the variables that its directives name."""

    schema: GraphQLSchema
    operation: OperationDefinitionNode
    fragments: dict[str, FragmentDetails]
    variables: VariableValues


@dataclass(eq=False)
class FieldShape:
    """One field as it is selected of objects of the type `parent`: its key in the answer, and what is below it."""

    source: Collected
    parent: GraphQLObjectType
    key: str
    details: list[FieldDetails]
    definition: GraphQLField
    _below: dict[str, ObjectShape] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.details[0].node.name.value

    @cached_property
    def nodes(self) -> list[FieldNode]:
        return [one.node for one in self.details]

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """What the declaration of the field says of it."""
        declared: dict[str, Any] = getattr(
            self.definition.extensions.get("strawberry-definition"), "metadata", {}
        )
        return declared

    @cached_property
    def python_name(self) -> str:
        """The attribute of that name, where it is one."""
        return cast(
            str, getattr(self.definition.extensions.get("strawberry-definition"), "python_name", self.name)
        )

    def of(self, kind: GraphQLObjectType) -> ObjectShape:
        """What is selected of the objects that it leads to, where they are of the type `kind`."""
        known = self._below.get(kind.name)
        if known is None:
            source = self.source
            found = collect_subfields(
                source.schema, source.fragments, source.variables, source.operation, kind, self.details
            )
            known = self._below[kind.name] = _shape(source, kind, found.grouped_field_set)
        return known


@dataclass(eq=False)
class ObjectShape:
    """What is selected of objects of one type. `typenames` are the keys under which `__typename` is asked for."""

    kind: GraphQLObjectType
    fields: list[FieldShape]
    order: list[str]
    typenames: frozenset[str]
    notes: dict[str, Any] = field(default_factory=dict)

    def field(self, name: str) -> FieldShape | None:
        """The one field of that name; None where it is not selected. Raises `NotPlanned` where it is, twice."""
        found = [one for one in self.fields if one.name == name]
        if len(found) > 1:
            raise NotPlanned
        return found[0] if found else None


def operation_shape(
    schema: GraphQLSchema,
    operation: OperationDefinitionNode,
    fragments: dict[str, FragmentDetails],
    variables: VariableValues,
) -> ObjectShape:
    """The shape of an operation's root. Raises `NotPlanned` for introspection."""
    root = schema.get_root_type(operation.operation)
    assert root is not None, "validated: the schema has such operations"
    found = collect_fields(schema, fragments, variables, root, operation)
    return _shape(Collected(schema, operation, fragments, variables), root, found.grouped_field_set)


def _shape(source: Collected, kind: GraphQLObjectType, grouped: dict[str, list[FieldDetails]]) -> ObjectShape:
    fields = []
    typenames = set()
    for key, details in grouped.items():
        name = details[0].node.name.value
        if name == TYPENAME:
            typenames.add(key)
        elif name not in kind.fields:
            raise NotPlanned
        else:
            fields.append(FieldShape(source, kind, key, details, kind.fields[name]))
    return ObjectShape(kind, fields, list(grouped), frozenset(typenames))


class Shapes:
    """The shapes of one operation of a document, by the values of the variables that `@skip` and `@include` name."""

    def __init__(self, document: DocumentNode) -> None:
        self._conditions = tuple(sorted(set(_conditions(document))))
        self._known: dict[Hashable, ObjectShape] = {}

    def get(
        self,
        schema: GraphQLSchema,
        operation: OperationDefinitionNode,
        fragments: dict[str, FragmentDetails],
        variables: VariableValues,
    ) -> ObjectShape:
        """The shape of the root. Raises `NotPlanned` for introspection."""
        identity = tuple(variables.coerced.get(name) for name in self._conditions)
        known = self._known.get(identity)
        if known is None:
            known = operation_shape(schema, operation, fragments, variables)
            if len(self._known) < MOST_SHAPES:
                self._known[identity] = known
        return known


def _conditions(node: Any) -> Iterator[str]:
    for directive in getattr(node, "directives", None) or ():
        for argument in directive.arguments or ():
            if isinstance(argument.value, VariableNode):
                yield argument.value.name.value
    for key in QUERY_DOCUMENT_KEYS.get(node.kind, ()):
        below = getattr(node, key, None)
        for one in below if isinstance(below, list | tuple) else [below]:
            if one is not None:
                yield from _conditions(one)


def object_type(field: FieldShape) -> GraphQLObjectType:
    """The object type that a field leads to, through lists and what must not be null."""
    return cast(GraphQLObjectType, get_named_type(field.definition.type))
