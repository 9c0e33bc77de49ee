"""Dataloaders of links between rows: the keys that siblings ask for at once are read in one statement."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Executable, RowMapping

from hogsend.graphql.context import Context
from hogsend.storage.collections import PARENT, Collection, rows_statement

K = TypeVar("K")


async def row_by_key(
    context: Context, collection: Collection, key: Any, column: ColumnElement[Any] | None = None
) -> RowMapping | None:
    """The row whose `column` (unique; the collection's key unless told) is `key`."""
    found = await rows_by_key(context, collection, key, column)
    return found[0] if found else None


async def rows_by_key(
    context: Context, collection: Collection, key: Any, column: ColumnElement[Any] | None = None
) -> Sequence[RowMapping]:
    """All rows whose `column` is `key`, in no order: for what is few by nature."""
    by = collection.key if column is None else column
    identity = ("rows", collection.name, str(by))
    return await rows_for(context, identity, lambda keys: rows_statement(collection, by, keys), PARENT, key)


async def rows_for(
    context: Context,
    identity: Hashable,
    statement: Callable[[list[K]], Executable],
    column: str,
    key: K,
) -> Sequence[RowMapping]:
    """The rows of a statement whose `column` is `key`, in its order. It is given the keys that siblings ask for."""

    async def load(keys: list[K]) -> list[list[RowMapping]]:
        found: dict[K, list[RowMapping]] = {key: [] for key in keys}
        for row in await context.rows(statement(keys)):
            found[row[column]].append(row)
        return [found[key] for key in keys]

    return await context.loader(identity, load).load(key)
