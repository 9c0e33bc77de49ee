"""Lists of rows and links between rows, declared as data: a line a field.

Each field carries its declaration in its metadata (`RowList` under `ROWS`, `RowLink` under `LINK`), for whatever reads
the schema to plan SQL; the resolvers here do the same row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

import strawberry
from sqlalchemy import Column, ColumnElement
from strawberry.annotation import StrawberryAnnotation
from strawberry.extensions import FieldExtension
from strawberry.types.field import StrawberryField

from hogsend.access.caller import Scope
from hogsend.graphql.connections import (
    PAGING_ARGUMENTS,
    Connection,
    Paged,
    Paging,
    argument,
    connect,
    paged_field,
)
from hogsend.graphql.context import Info
from hogsend.graphql.enums import WireEnum
from hogsend.graphql.fields import described, query
from hogsend.graphql.links import row_by_key
from hogsend.graphql.mapping import Convert, FieldMap, FieldStep, Filter, Mapped, narrow, plan_filters
from hogsend.graphql.node import TYPES, Node, link
from hogsend.graphql.sorting import SortOrder
from hogsend.storage.collections import Collection, Selection
from hogsend.storage.database import Record

ROWS = "rows"
LINK = "link"
WORKED_OUT = "worked out"
THROUGH = "through"


@dataclass(frozen=True)
class Argument:
    """An argument that narrows a list: by the collection's filter of its name unless `by` says otherwise."""

    kind: Any
    description: str
    by: str | Convert | Mapped | None = None
    default: Any = None


@dataclass(frozen=True)
class RowList:
    """A list of rows: whose, in which order, and what its arguments do.

    `column` holds the key of the object that the list is of; None for a root field. `ascending` is the sort to list by,
    lowest first, where it is not the collection's default. `filter` is the type of the argument `filter`, `sorts` the
    enum of the argument `sort`: its members are the names of the collection's sorts.
    """

    collection: Collection
    column: ColumnElement[Any] | None = None
    ascending: str | None = None
    filter: type[Filter] | None = None
    sorts: type[WireEnum] | None = None
    arguments: Mapping[str, Argument] = field(default_factory=dict)

    @cached_property
    def plan(self) -> tuple[FieldStep, ...]:
        """What each of `arguments` narrows by."""
        declared: FieldMap = {name: one.by for name, one in self.arguments.items() if one.by is not None}
        return plan_filters(list(self.arguments), declared)

    def select(self, parent: Any, given: Mapping[str, Any]) -> Selection:
        """The rows of one parent, as the arguments have it."""
        rows = self.collection.all()
        if self.column is not None:
            rows = self.collection.under(self.column, parent.key)
        if self.filter is not None and given["filter"] is not None:
            rows = given["filter"].narrow(rows)
        if self.sorts is not None:
            rows = rows.sorted(given["sort"].value, descending=given["order"] is SortOrder.DESC)
        elif self.ascending is not None:
            rows = rows.sorted(self.ascending, descending=False)
        return narrow(rows, self.plan, given)


class PagedRows(Paged):
    """Gives a field the arguments that its `RowList` declares, and those of paging, and pages it."""

    def __init__(self, rows: RowList) -> None:
        super().__init__(rows.collection.node)
        self.rows = rows

    def apply(self, field: StrawberryField) -> None:
        if not field.arguments:
            rows = self.rows
            declared = []
            if rows.filter is not None:
                declared.append(argument("filter", rows.filter | None, "Only entries that match it."))
            if rows.sorts is not None:
                first = next(iter(rows.sorts))
                declared.append(argument("sort", rows.sorts, "Field to sort by.", first))
                declared.append(argument("order", SortOrder, "Sort direction.", SortOrder.DESC))
            declared += [
                argument(name, one.kind, one.description, one.default) for name, one in rows.arguments.items()
            ]
            field.arguments = declared
        super().apply(field)

    async def resolve_async(
        self, next_: Callable[..., Any], source: Any, info: Info, **kwargs: Any
    ) -> Connection[Any]:
        paging = Paging(**{name: kwargs.pop(name, None) for name in PAGING_ARGUMENTS})
        return connect(info.context, self.rows.select(source, kwargs), paging)


def rows(
    collection: Collection,
    column: ColumnElement[Any] | None = None,
    *,
    description: str,
    scope: Scope | None = None,
    ascending: str | None = None,
    filter: type[Filter] | None = None,
    sorts: type[WireEnum] | None = None,
    arguments: Mapping[str, Argument] = {},
) -> Any:
    """Declare a paginated list of rows: those whose `column` is the object's key, or, with a `scope`, a root field."""
    declared = RowList(collection, column, ascending, filter, sorts, arguments)
    made = paged_field(_is_paged, PagedRows(declared), description, scope)
    made.metadata = {**made.metadata, ROWS: declared}
    return made


def _is_paged(self: Any) -> Any:
    """Stand for the resolver: `PagedRows` reads the list."""


@dataclass(frozen=True)
class RowLink:
    """A link to one thing: the type with this prefix, whose key (or `column`) the attribute `by` holds."""

    prefix: str
    by: str
    column: Column[Any] | None = None


@dataclass(frozen=True)
class WorkedOut:
    """A value that is made of the object's own attributes."""

    attributes: tuple[str, ...]
    make: Callable[..., Any]


@dataclass(frozen=True)
class Through:
    """A value that is made of the row of `collection` whose key the attribute `by` holds; the row may be missing.

    `make` is given the key, which is not None, and the row, of which it reads `columns`.
    """

    collection: Collection
    by: str
    columns: tuple[str, ...]
    make: Callable[[Any, Record | None], Any]


class _Typed(FieldExtension):
    """Gives a link its type once every type is known; takes no part in resolving."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def apply(self, field: StrawberryField) -> None:
        field.type_annotation = StrawberryAnnotation(TYPES[self.prefix] | None)


def to_one(
    prefix: str, by: str, description: str, *, name: str | None = None, column: Column[Any] | None = None
) -> Any:
    """Declare a link to a row: null where there is none, or it does not show. Siblings are read in one statement.

    `column` is what holds the value of `by` where that is not the row's key; it is unique.
    """

    async def resolver(self: Any, info: Info) -> Any:
        return await link(info.context, prefix, getattr(self, by), column)

    return _link_field(resolver, RowLink(prefix, by, column), description, name)


def worked_out(kind: Any, description: str, *attributes: str, make: Callable[..., Any]) -> Any:
    """Declare a value of the GraphQL type `kind` that is made of attributes of the object, given in their order."""

    def resolver(self: Any) -> Any:
        return make(*[getattr(self, name) for name in attributes])

    return _value_field(resolver, kind, description, {WORKED_OUT: WorkedOut(attributes, make)})


def through(kind: Any, description: str, declared: Through) -> Any:
    """Declare a value of the GraphQL type `kind` that is made of another row; null where there is no key to it."""

    async def resolver(self: Any, info: Info) -> Any:
        key = getattr(self, declared.by)
        if key is None:
            return None
        return declared.make(key, await row_by_key(info.context, declared.collection, key))

    return _value_field(resolver, kind, description, {THROUGH: declared})


def _value_field(
    resolver: Callable[..., Any], kind: Any, description: str, metadata: Mapping[Any, Any]
) -> Any:
    resolver.__annotations__["return"] = kind
    return strawberry.field(resolver=resolver, description=description, metadata=metadata)


def in_code(prefix: str, by: str, description: str) -> Any:
    """Declare a link to what the code of this deployment defines, a journey or a template, by its name."""

    def resolver(self: Any, info: Info) -> Any:
        return TYPES[prefix].named(info.context, getattr(self, by))

    return _link_field(resolver, RowLink(prefix, by), description, None)


def _link_field(resolver: Callable[..., Any], declared: RowLink, description: str, name: str | None) -> Any:
    return strawberry.field(
        resolver=resolver,
        description=description,
        name=name,
        metadata={LINK: declared},
        extensions=[_Typed(declared.prefix)],
    )


def by_id(kind: type[Node], description: str, *, argument: str = "Global id, or bare UUID.") -> Any:
    """Declare a field of Query that finds one thing by its id; null where there is none."""

    async def resolver(self: Any, info: Info, id: Any) -> Any:
        return await kind.fetch(info.context, id)

    resolver.__annotations__ |= {
        "id": Annotated[strawberry.ID, described(argument)],
        "return": kind | None,
    }
    return query(description=description)(resolver)
