"""Statements of a plan: compiled to SQL text once for each shape, executed on the driver with new values.

Building and compiling a statement costs more than running it, so what was compiled is kept; the keys of the parents and
the places of cursors are parameters, filters are part of what it is known by.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ARRAY, BindParameter, ColumnElement, Select, bindparam

from hogsend.graphql.context import Context
from hogsend.storage.collections import (
    PARENT,
    Collection,
    PageRange,
    Selection,
    count_statement,
    page_statement,
    rows_statement,
)
from hogsend.storage.compiled import CompiledStatement
from hogsend.storage.cursors import Cursor

REMEMBERED_STATEMENTS = 512
PARENTS = "parents"

Row = Mapping[str, Any]


class Statements:
    """Compiled statements by what they are known by; the oldest are forgotten."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, CompiledStatement] = OrderedDict()

    def get(self, identity: Hashable, build: Callable[[], Select[Any]]) -> CompiledStatement:
        known = self._known.get(identity)
        if known is not None:
            self._known.move_to_end(identity)
            return known
        made = self._known[identity] = CompiledStatement.of(build())
        if len(self._known) > REMEMBERED_STATEMENTS:
            self._known.popitem(last=False)
        return made


STATEMENTS = Statements()


async def fetch(context: Context, statement: CompiledStatement, run: Mapping[str, Any]) -> Sequence[Row]:
    """Read its rows."""
    return await context.fetch(statement.sql, statement.values(run))


async def pages(
    context: Context, selection: Selection, window: PageRange, parents: Sequence[Any]
) -> Sequence[Row]:
    """The rows of the pages of all `parents`, as `page_statement` has them."""
    places = {"after": window.after, "before": window.before}
    after, before = (_place(name, cursor, selection) for name, cursor in places.items())
    shape = replace(window, after=after, before=before)
    identity = ("page", _columns(selection.collection), selection.identity, _window(window))
    statement = STATEMENTS.get(identity, lambda: page_statement(selection, shape, _parents(selection)))
    run: dict[str, Any] = {PARENTS: list(parents)}
    for name, cursor in places.items():
        if cursor is not None:
            run |= {f"{name}_value": cursor.value, f"{name}_key": cursor.key}
    return await fetch(context, statement, run)


async def counts(context: Context, selection: Selection, parents: Sequence[Any]) -> Sequence[Row]:
    """The numbers of the lists of all `parents`, as `count_statement` has them."""
    identity = ("count", selection.collection.name, selection.identity)
    statement = STATEMENTS.get(identity, lambda: count_statement(selection, _parents(selection)))
    return await fetch(context, statement, {PARENTS: list(parents)})


@dataclass(eq=False)
class _Asked:
    """What links of one turn of the loop want of one table: keys, and columns by name."""

    keys: dict[Any, None]
    columns: dict[str, ColumnElement[Any]]
    rows: asyncio.Future[Sequence[Row]]


class RowsByKey:
    """One execution's reads of rows by key: what links ask for at the same time is read in one statement."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._asked: dict[tuple[str, str], _Asked] = {}

    async def get(self, collection: Collection, column: Any, keys: Sequence[Any]) -> Sequence[Row]:
        """The rows whose `column` is one of `keys`, whatever the collection's `where` says; in no order."""
        identity = (collection.name, str(column))
        asked = self._asked.get(identity)
        if asked is None:
            read = asyncio.ensure_future(self._read(identity, collection, column))
            asked = self._asked[identity] = _Asked({}, {}, read)
        asked.keys.update(dict.fromkeys(keys))
        asked.columns.update({str(one.key): one for one in collection.columns})
        rows = await asked.rows
        own = set(keys)
        return rows if len(own) == len(asked.keys) else [row for row in rows if row[PARENT] in own]

    async def _read(self, identity: tuple[str, str], collection: Collection, column: Any) -> Sequence[Row]:
        await asyncio.sleep(0)  # for those who ask in the same turn of the loop
        asked = self._asked.pop(identity)
        names = sorted(asked.columns)
        wanted = replace(collection, columns=[asked.columns[name] for name in names])
        statement = STATEMENTS.get(
            ("rows", identity, tuple(names)), lambda: rows_statement(wanted, column, _array(column))
        )
        return await fetch(self._context, statement, {PARENTS: list(asked.keys)})


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
