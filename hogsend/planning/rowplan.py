"""What of a type's fields can be read off its rows: the columns that a selection needs, and where each value is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from graphql import GraphQLObjectType

from hogsend.graphql.mapping import field_plan
from hogsend.graphql.node import KEY, TYPES, Node
from hogsend.graphql.rows import LINK, ROWS, THROUGH, WORKED_OUT, RowLink, RowList, Through, WorkedOut
from hogsend.planning.shape import FieldShape, ObjectShape
from hogsend.storage.collections import Collection

Convert = Callable[[Any], Any]


@dataclass(frozen=True)
class RowField:
    """One field of a row: the columns, the conversion of each, and what is made of them.

    `declared` is the list, the link or the value that the first column leads to. Without `columns` the field is left to
    its resolver, of an object that is made of the whole row.
    """

    field: FieldShape
    columns: tuple[tuple[str, Convert | None], ...] = ()
    declared: RowList | RowLink | WorkedOut | Through | None = None


@dataclass(frozen=True)
class RowPlan:
    """The fields of one type's rows. `columns` is None where whole rows are needed."""

    fields: tuple[RowField, ...]
    columns: frozenset[str] | None


def row_plan(shape: ObjectShape, kind: type[Node]) -> RowPlan:
    """How the rows of `kind` become what is selected of them; worked out once a shape."""
    known: RowPlan | None = shape.notes.get(kind.__name__)
    if known is None:
        fields = tuple(_row_field(one, kind) for one in shape.fields)
        whole = any(not one.columns for one in fields)
        columns = frozenset(name for one in fields for name, _ in one.columns)
        known = shape.notes[kind.__name__] = RowPlan(fields, None if whole else columns)
    return known


def _row_field(field: FieldShape, kind: type[Node]) -> RowField:
    steps = {step.field: step for step in field_plan(cast(Any, kind))}
    metadata = field.metadata
    declared = metadata.get(LINK) or metadata.get(THROUGH) or metadata.get(WORKED_OUT) or metadata.get(ROWS)
    if KEY in metadata:
        return RowField(field, ((steps["key"].name, metadata[KEY](kind)),))
    if declared is not None:
        by = declared.attributes if isinstance(declared, WorkedOut) else (getattr(declared, "by", "key"),)
        return RowField(field, tuple((steps[name].name, steps[name].convert) for name in by), declared)
    definition: Any = field.definition.extensions["strawberry-definition"]
    step = steps.get(field.python_name)
    if definition.is_basic_field and step is not None:
        return RowField(field, ((step.name, step.convert),))
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
