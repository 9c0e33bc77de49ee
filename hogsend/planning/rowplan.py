"""What of a type's fields can be read off its rows: the columns that a selection needs, and where each value is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from graphql import GraphQLObjectType

from hogsend.graphql.mapping import field_plan
from hogsend.graphql.node import KEY, TYPES, Node
from hogsend.graphql.rows import LINK, ROWS, RowLink, RowList
from hogsend.planning.shape import FieldShape, ObjectShape
from hogsend.storage.collections import Collection

Convert = Callable[[Any], Any]


@dataclass(frozen=True)
class RowField:
    """One field of a row: the column, its conversion, and the list or the link that it is the key of.

    `column` is None where the field is worked out by a resolver, of an object that is made of the whole row.
    """

    field: FieldShape
    column: str | None = None
    convert: Convert | None = None
    rows: RowList | None = None
    link: RowLink | None = None


@dataclass(frozen=True)
class RowPlan:
    """The fields of one type's rows. `columns` is None where whole rows are needed."""

    fields: tuple[RowField, ...]
    columns: frozenset[str] | None


def row_plan(shape: ObjectShape, kind: type[Node]) -> RowPlan:
    """How the rows of `kind` become what is selected of them; worked out once a shape."""
    known: RowPlan | None = shape.notes.get(kind)
    if known is None:
        fields = tuple(_row_field(one, kind) for one in shape.fields)
        names = [one.column for one in fields]
        columns = None if None in names else frozenset(name for name in names if name is not None)
        known = shape.notes[kind] = RowPlan(fields, columns)
    return known


def _row_field(field: FieldShape, kind: type[Node]) -> RowField:
    steps = {step.field: step for step in field_plan(kind)}
    metadata = field.metadata
    if LINK in metadata:
        link: RowLink = metadata[LINK]
        return RowField(field, steps[link.by].name, link=link)
    if ROWS in metadata:
        return RowField(field, steps["key"].name, rows=metadata[ROWS])
    if KEY in metadata:
        return RowField(field, steps["key"].name, metadata[KEY](kind))
    definition: Any = field.definition.extensions["strawberry-definition"]
    step = steps.get(field.python_name)
    if definition.is_basic_field and step is not None:
        return RowField(field, step.name, step.convert)
    return RowField(field)


def narrowed(collection: Collection, plans: list[RowPlan], kind: type[Node], *besides: str) -> Collection:
    """The collection with the columns alone that the plans, and whoever reads `besides`, need."""
    needed = {*besides, *kind.told_by}
    for plan in plans:
        if plan.columns is None:
            return collection
        needed |= plan.columns
    return replace(collection, columns=tuple(one for one in collection.columns if one.key in needed))


def class_of(kind: GraphQLObjectType) -> Any:
    """The Python class that an object type was declared as."""
    return kind.extensions["strawberry-definition"].origin


def rows_of(link: RowLink) -> type[Node] | None:
    """The type that a link leads to, where it is one of rows; None for what is defined in code."""
    kind = TYPES[link.prefix]
    return None if kind.collection is None else kind
