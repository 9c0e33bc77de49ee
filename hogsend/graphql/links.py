"""Follow links between rows: the keys that siblings ask for at once are read in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, RowMapping

from hogsend.graphql.context import Context
from hogsend.storage.collections import PARENT, Collection, rows_statement


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

    async def load(keys: list[Any]) -> list[list[RowMapping]]:
        found: dict[Any, list[RowMapping]] = {key: [] for key in keys}
        for row in await context.rows(rows_statement(collection, by, keys)):
            found[row[PARENT]].append(row)
        return [found[key] for key in keys]

    return await context.loader(("rows", collection.name, str(by)), load).load(key)
