"""Statements of a plan: compiled to SQL text once for each shape, executed on the driver with new values.

Building and compiling a statement costs more than running it, so what was compiled is kept; the keys of the parents and
the places of cursors are parameters, filters are part of what it is known by.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ARRAY, BindParameter, Select, bindparam
from sqlalchemy.dialects.postgresql import asyncpg

from hogsend.graphql.context import Context
from hogsend.storage.collections import Collection, PageRange, Selection, count_statement, page_statement, rows_statement
from hogsend.storage.cursors import Cursor
from hogsend.storage.database import fetch_raw

REMEMBERED_STATEMENTS = 512
PARENTS = "parents"
_DIALECT = asyncpg.dialect()

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Statement:
    """SQL text, and the values of its parameters in order: fixed ones, or the name of what each run gives."""

    sql: str
    given: tuple[tuple[str, Any], ...]

    def values(self, run: Mapping[str, Any]) -> list[Any]:
        return [run[name] if name in run else fixed for name, fixed in self.given]


class Statements:
    """Compiled statements by what they are known by; the oldest are forgotten."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, Statement] = OrderedDict()

    def get(self, identity: Hashable, build: Callable[[], Select[Any]]) -> Statement:
        known = self._known.get(identity)
        if known is not None:
            self._known.move_to_end(identity)
            return known
        made = self._known[identity] = _compiled(build())
        if len(self._known) > REMEMBERED_STATEMENTS:
            self._known.popitem(last=False)
        return made


STATEMENTS = Statements()


def _compiled(statement: Select[Any]) -> Statement:
    compiled: Any = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    processors = compiled._bind_processors
    given = []
    for name in compiled.positiontup:
        value = compiled.params[name]
        if name in processors and value is not None:
            value = processors[name](value)
        given.append((name, value))
    return Statement(compiled.string, tuple(given))


async def fetch(context: Context, statement: Statement, run: Mapping[str, Any]) -> list[Row]:
    """Read its rows, on a connection of its own."""
    async with context.connection() as conn:
        return await fetch_raw(conn, statement.sql, statement.values(run))


async def pages(context: Context, selection: Selection, window: PageRange, parents: Sequence[Any]) -> list[Row]:
    """The rows of the pages of all `parents`, as `page_statement` has them."""
    places = {"after": window.after, "before": window.before}
    shape = replace(window, **{name: _place(name, cursor, selection) for name, cursor in places.items()})
    identity = ("page", _columns(selection.collection), selection.identity, _window(window))
    statement = STATEMENTS.get(identity, lambda: page_statement(selection, shape, _parents(selection)))
    run: dict[str, Any] = {PARENTS: list(parents)}
    for name, cursor in places.items():
        if cursor is not None:
            run |= {f"{name}_value": cursor.value, f"{name}_key": cursor.key}
    return await fetch(context, statement, run)


async def counts(context: Context, selection: Selection, parents: Sequence[Any]) -> list[Row]:
    """The numbers of the lists of all `parents`, as `count_statement` has them."""
    if selection.parent_column is not None:
        statement = _compiled(count_statement(selection, list(parents)))
        return await fetch(context, statement, {})
    identity = ("count", selection.collection.name, selection.identity)
    return await fetch(context, STATEMENTS.get(identity, lambda: count_statement(selection, [])), {})


async def by_key(context: Context, collection: Collection, column: Any, keys: Sequence[Any]) -> list[Row]:
    """Every row whose `column` is one of `keys`."""
    statement = STATEMENTS.get(
        ("rows", _columns(collection), str(column)),
        lambda: rows_statement(collection, column, _array(column)),
    )
    return await fetch(context, statement, {PARENTS: list(keys)})


def _parents(selection: Selection) -> Any:
    return [] if selection.parent_column is None else _array(selection.parent_column)


def _array(column: Any) -> BindParameter[Any]:
    return bindparam(PARENTS, [], type_=ARRAY(column.type))


def _place(name: str, cursor: Cursor | None, selection: Selection) -> Cursor | None:
    if cursor is None:
        return None
    collection = selection.collection
    sort = collection.sorts[selection.sort].column
    value = None if cursor.value is None else bindparam(f"{name}_value", None, type_=sort.type)
    return Cursor(cursor.order, value, bindparam(f"{name}_key", None, type_=collection.key.type))


def _window(window: PageRange) -> Hashable:
    cursors = tuple(None if one is None else one.value is None for one in (window.after, window.before))
    return (window.size, window.backward, window.offset, cursors)


def _columns(collection: Collection) -> Hashable:
    return (collection.name, tuple(column.key for column in collection.columns))
