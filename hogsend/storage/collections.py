"""Lists declared as data, and the one place that pages them: by key, by number, for one parent or for many."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import (
    ARRAY,
    BindParameter,
    Column,
    ColumnElement,
    FromClause,
    RowMapping,
    Select,
    Table,
    and_,
    any_,
    cast,
    func,
    literal,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.expression import CompoundSelect

from hogsend.storage.cursors import Cursor, decode

Condition = ColumnElement[bool]
Filter = Callable[[Any], Condition]
Order = UnaryExpression[Any]


@dataclass(frozen=True)
class Sort:
    """A column that a list may be ordered by. Where it may be null, rows without a value come last, either way."""

    column: ColumnElement[Any]
    nullable: bool = False


@dataclass(frozen=True)
class Collection:
    """A kind of row, and how lists of it are ordered, filtered and paged.

    `node` is the prefix of its GraphQL type; `columns` what is read; `key` is unique and breaks ties. The first
    of `sorts` is the default, newest first. `where` holds for every list; `filters` turn a value into a condition.
    `counted` says how many each row stands for, where that is not one: then `totalCount` is their sum.
    """

    name: str
    node: str
    columns: Sequence[ColumnElement[Any]]
    key: ColumnElement[Any]
    sorts: Mapping[str, Sort]
    where: Sequence[Condition] = ()
    filters: Mapping[str, Filter] = field(default_factory=dict)
    descending: bool = True
    counted: Column[Any] | None = None

    @classmethod
    def of(
        cls,
        name: str,
        node: str,
        table: Table,
        *,
        sorts: Column[Any] | Mapping[str, Column[Any]],
        key: Column[Any] | None = None,
        leaving_out: Sequence[Column[Any]] = (),
        **options: Any,
    ) -> Collection:
        """A collection of a table's rows: all columns but those left out, and the key `id` unless told.

        A column alone for `sorts` is the only one, under its own name.
        """
        if isinstance(sorts, Column):
            sorts = {sorts.key: sorts}
        return cls(
            name,
            node,
            columns=tuple(column for column in table.c if column not in set(leaving_out)),
            key=table.c.id if key is None else key,
            sorts={word: Sort(column, nullable=bool(column.nullable)) for word, column in sorts.items()},
            **options,
        )

    def all(self) -> Selection:
        return Selection(self, next(iter(self.sorts)), self.descending)

    def under(self, column: ColumnElement[Any], parent: Any) -> Selection:
        """The rows that belong to one parent. Lists of sibling parents are read in one statement."""
        return replace(self.all(), parent_column=column, parent=parent)


def equals(*columns: Column[Any]) -> dict[str, Filter]:
    """Filters that each compare the column of their name."""
    return {column.key: _equals(column) for column in columns}


def _equals(column: Column[Any]) -> Filter:
    return lambda value: column == value


def between(column: Column[Any]) -> dict[str, Filter]:
    """The filters `from_` and `to`: at least the one, at most the other."""
    return {"from_": lambda value: column >= value, "to": lambda value: column <= value}


@dataclass(frozen=True)
class Selection:
    """One list: a collection, narrowed and ordered."""

    collection: Collection
    sort: str
    descending: bool
    filters: tuple[tuple[str, Hashable], ...] = ()
    parent_column: ColumnElement[Any] | None = None
    parent: Any = None

    def filtered(self, **values: Any) -> Selection:
        """Narrow by the collection's filters; those whose value is None are left out."""
        given = tuple((name, _hashable(value)) for name, value in values.items() if value is not None)
        return replace(self, filters=self.filters + given)

    def sorted(self, sort: str | None = None, *, descending: bool | None = None) -> Selection:
        return replace(
            self,
            sort=self.sort if sort is None else sort,
            descending=self.descending if descending is None else descending,
        )

    @property
    def identity(self) -> Hashable:
        """Equal for sibling lists, which differ in their parent only."""
        column = None if self.parent_column is None else str(self.parent_column)
        return (self.collection.name, self.sort, self.descending, self.filters, column)

    @property
    def order(self) -> str:
        """What its cursors are marked with, so that one of another order is refused."""
        return f"{self.collection.name}.{self.sort}.{'desc' if self.descending else 'asc'}"

    def cursor(self, row: RowMapping) -> str:
        column = self.collection.sorts[self.sort].column
        return Cursor(self.order, row[_name(column)], row[_name(self.collection.key)]).encode()

    def place(self, text: str) -> Cursor:
        """Read a cursor of this list. Raises `BadCursor`."""
        collection = self.collection
        column = collection.sorts[self.sort].column
        return decode(text, self.order, column.type.python_type, collection.key.type.python_type)

    def conditions(self) -> list[Condition]:
        filters = self.collection.filters
        return [*self.collection.where, *(filters[name](value) for name, value in self.filters)]


@dataclass(frozen=True)
class PageRange:
    """Which part of a list: `size` rows after `after` (or, `backward`, before `before`), `offset` of them skipped."""

    size: int
    backward: bool = False
    after: Cursor | None = None
    before: Cursor | None = None
    offset: int = 0


PARENT = "_parent"


Parents = Sequence[Any] | BindParameter[Any]


def page_statement(selection: Selection, window: PageRange, parents: Parents) -> Select[Any]:
    """One row more than asked for, so that the reader knows whether there are more; backward pages come reversed.

    With a parent column: the pages of all `parents` in one statement, each row with its parent as `_parent`.
    """
    column = selection.parent_column
    if column is None:
        source = _page(selection, window, None).subquery("page")
        return select(*source.c).order_by(*_ordering(selection, window, source))
    keys = parents if isinstance(parents, BindParameter) else list(parents)
    given = select(func.unnest(cast(keys, ARRAY(column.type))).label("id")).subquery("parents")
    lateral = _page(selection, window, and_(column == given.c.id), given).lateral("page")
    return (
        select(given.c.id.label(PARENT), *lateral.c)
        .select_from(given.join(lateral, true()))
        .order_by(given.c.id, *_ordering(selection, window, lateral))
    )


def count_statement(selection: Selection, parents: Parents) -> Select[Any]:
    """How many the matching rows stand for: one number, or (parent, number) for each parent that has any."""
    column = selection.parent_column
    counted = selection.collection.counted
    number = func.count() if counted is None else func.coalesce(func.sum(counted), 0)
    rows = (
        select(number.label("count"))
        .select_from(selection.collection.key.table)
        .where(*selection.conditions())
    )
    if column is None:
        return rows
    return rows.add_columns(column.label(PARENT)).where(_among(column, parents)).group_by(column)


def rows_statement(collection: Collection, column: ColumnElement[Any], keys: Parents) -> Select[Any]:
    """Every row whose `column` is one of `keys`, whatever `where` says: for links to things that must show."""
    return select(column.label(PARENT), *collection.columns).where(_among(column, keys))


def _among(column: ColumnElement[Any], keys: Parents) -> Condition:
    return column == any_(keys) if isinstance(keys, BindParameter) else column.in_(keys)


def _page(
    selection: Selection, window: PageRange, parent: Condition | None, outer: FromClause | None = None
) -> Select[Any] | CompoundSelect[Any]:
    sort = selection.collection.sorts[selection.sort]
    conditions = [*selection.conditions(), *([] if parent is None else [parent])]
    if not sort.nullable:
        bounds = _bounds(selection, window, empty=False)
        statement = _rows(selection, window, [*conditions, *(bounds or [])], outer)
        return statement.limit(window.size + 1).offset(window.offset)
    parts = []
    for empty in (False, True):
        bounds = _bounds(selection, window, empty=empty)
        if bounds is not None:
            held = sort.column.is_(None) if empty else sort.column.is_not(None)
            part = _rows(selection, window, [*conditions, held, *bounds], outer)
            parts.append(select(part.limit(window.offset + window.size + 1).subquery()))
    both = union_all(*parts).subquery("both")
    return (
        select(*both.c)
        .order_by(*_ordering(selection, window, both))
        .limit(window.size + 1)
        .offset(window.offset)
    )


def _rows(
    selection: Selection, window: PageRange, conditions: Sequence[Condition], outer: FromClause | None
) -> Select[Any]:
    statement = select(*selection.collection.columns).where(*conditions)
    sort = selection.collection.sorts[selection.sort]
    down = selection.descending is not window.backward
    first = _directed(sort.column, down)
    if sort.nullable:
        # Spelled as its index is, so that either part is one walk along it.
        first = first.nulls_last() if down else first.nulls_first()
    statement = statement.order_by(first, _directed(selection.collection.key, down))
    return statement if outer is None else statement.correlate(outer)


def _bounds(selection: Selection, window: PageRange, *, empty: bool) -> list[Condition] | None:
    """The cursors as conditions on the rows that have a sort value, or (`empty`) on those that have none.

    None where the cursors leave nothing of that part.
    """
    column, key = selection.collection.sorts[selection.sort].column, selection.collection.key
    conditions: list[Condition] = []
    for cursor, behind in ((window.after, True), (window.before, False)):
        if cursor is None:
            continue
        if (cursor.value is None) is not empty:
            # The empty part lies behind the other one: all of it, or nothing of it, is on the wanted side.
            if empty is not behind:
                return None
            continue
        place, at = (
            (key, _value(cursor.key, key.type))
            if empty
            else (
                tuple_(column, key),
                tuple_(_value(cursor.value, column.type), _value(cursor.key, key.type)),
            )
        )
        conditions.append(place < at if selection.descending is behind else place > at)
    return conditions


def _value(given: Any, kind: Any) -> ColumnElement[Any]:
    return given if isinstance(given, BindParameter) else literal(given, kind)


def _ordering(selection: Selection, window: PageRange, source: FromClause) -> list[Any]:
    sort = selection.collection.sorts[selection.sort]
    down = selection.descending is not window.backward
    column = source.c[_name(sort.column)]
    empties = [_directed(column.is_(None), window.backward)] if sort.nullable else []
    return [*empties, _directed(column, down), _directed(source.c[_name(selection.collection.key)], down)]


def _directed(column: ColumnElement[Any], down: bool) -> Order:
    return column.desc() if down else column.asc()


def _name(column: ColumnElement[Any]) -> str:
    return str(column.key)


def _hashable(value: Any) -> Hashable:
    if isinstance(value, list | set | frozenset):
        return tuple(value)
    hash(value)
    return value  # type: ignore[no-any-return]
