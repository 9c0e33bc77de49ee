"""What of a type's fields can be read off its rows: the columns that a selection needs, and where each value is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from graphql import GraphQLEnumType, GraphQLObjectType, get_nullable_type
from sqlalchemy import Text
from sqlalchemy import cast as cast_column
from sqlalchemy.dialects.postgresql import JSONB

from hogsend.graphql.mapping import field_plan
from hogsend.graphql.node import KEY, TYPES, Node
from hogsend.graphql.rows import LINK, ROWS, THROUGH, WORKED_OUT, RowLink, RowList, Through, WorkedOut
from hogsend.planning.shape import FieldShape, ObjectShape
from hogsend.storage.collections import Collection

Convert = Callable[[Any], Any]
AS_TEXT = "::text"
"""What the name of a JSON column ends with where its text is read, which need not be parsed to go out."""


@dataclass(frozen=True)
class RowField:
    """One field of a row: the columns, the conversion of each, and what is made of them.

    `declared` is the list, the link or the value that the first column leads to. Without `columns` the field is left to
    its resolver, of an object that is made of the whole row. `is_json` says that the column holds JSON text.
    """

    field: FieldShape
    columns: tuple[tuple[str, Convert | None], ...] = ()
    declared: RowList | RowLink | WorkedOut | Through | None = None
    is_json: bool = False
    words: Words | None = None


class Words(dict[Any, Any]):
    """The words of an enum on the wire by what columns hold: each is converted once."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, given: Any) -> Any:
        made = self[given] = self._make(given)
        return made


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
        if whole:
            # The object is made of columns as they are; so are its siblings' values read.
            fields = tuple(_as_columns(one) for one in fields)
        columns = frozenset(name for one in fields for name, _ in one.columns)
        known = shape.notes[kind.__name__] = RowPlan(fields, None if whole else columns)
    return known


def _as_columns(one: RowField) -> RowField:
    if not one.is_json:
        return one
    [(name, convert)] = one.columns
    return RowField(one.field, ((name.removesuffix(AS_TEXT), convert),))


def _row_field(field: FieldShape, kind: type[Node]) -> RowField:
    if cast(Any, kind.of).__func__ is not cast(Any, Node.of).__func__:
        return RowField(field)  # How its objects are made is its own affair.
    steps = {step.field: step for step in field_plan(cast(Any, kind))}
    metadata = field.metadata
    declared = metadata.get(LINK) or metadata.get(THROUGH) or metadata.get(WORKED_OUT) or metadata.get(ROWS)
    if KEY in metadata:
        return RowField(field, ((steps["key"].name, metadata[KEY](kind)),))
    if declared is not None:
        by = declared.attributes if isinstance(declared, WorkedOut) else (getattr(declared, "by", "key"),)
        columns = tuple((steps[name].name, steps[name].convert) for name in by)
        if isinstance(declared, WorkedOut) and len(columns) == 1 and columns[0][1] is None:
            return RowField(field, columns, declared, words=_words(field, declared.make, worked_out=True))
        return RowField(field, columns, declared)
    definition: Any = field.definition.extensions["strawberry-definition"]
    step = steps.get(field.python_name)
    if definition.is_basic_field and step is not None:
        if step.convert is None and step.name in _json_columns(kind) and _is_json(field):
            return RowField(field, ((step.name + AS_TEXT, None),), is_json=True)
        return RowField(field, ((step.name, step.convert),), words=_words(field, step.convert))
    return RowField(field)


def _words(field: FieldShape, make: Convert | None, *, worked_out: bool = False) -> Words | None:
    """How one column becomes words of the field's enum; None where it is of another type, or a list.

    What is `worked_out` is made of a null, too.
    """
    kind = get_nullable_type(field.definition.type)
    if not isinstance(kind, GraphQLEnumType) or make is None:
        return None
    if not worked_out:
        return Words(lambda given: None if given is None else kind.serialize(make(given)))
    return Words(lambda given: None if (made := make(given)) is None else kind.serialize(made))


def _is_json(field: FieldShape) -> bool:
    return getattr(get_nullable_type(field.definition.type), "name", None) == "JSON"


def _json_columns(kind: type[Node]) -> frozenset[str]:
    assert kind.collection is not None
    return frozenset(str(one.key) for one in kind.collection.columns if isinstance(one.type, JSONB))


def narrowed(collection: Collection, plans: list[RowPlan], kind: type[Node], *besides: str) -> Collection:
    """The collection with the columns alone that the plans, and whoever reads `besides`, need."""
    needed = {*besides, *kind.told_by}.union(*(plan.columns for plan in plans if plan.columns is not None))
    whole = any(plan.columns is None for plan in plans)
    columns = [one for one in collection.columns if whole or one.key in needed]
    texts = [one for one in collection.columns if f"{one.key}{AS_TEXT}" in needed]
    return replace(
        collection,
        columns=(*columns, *(cast_column(one, Text).label(f"{one.key}{AS_TEXT}") for one in texts)),
    )


def class_of(kind: GraphQLObjectType) -> Any:
    """The Python class that an object type was declared as."""
    return kind.extensions["strawberry-definition"].origin


def rows_of(link: RowLink) -> type[Node] | None:
    """The type that a link leads to, where it is one of rows; None for what is defined in code."""
    kind = TYPES[link.prefix]
    return None if kind.collection is None else kind
