"""Bulk inserts: rows as arrays, so that one statement takes one row or a thousand and its text never changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Column, Table, TextClause, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


class BulkInsert:
    """`INSERT INTO table (columns) SELECT … FROM unnest(…)`, in the order of the rows.

    Postgres knows the statement again whatever the number of rows, where a list of VALUES is another text, and
    another plan, for each. `then` follows the rows: ON CONFLICT, RETURNING.
    """

    def __init__(self, table: Table, columns: Sequence[str], then: str = "") -> None:
        self._columns = [table.c[name] for name in columns]
        arrays = ", ".join(f"CAST(:{column.name} AS {_sent_as(column)}[])" for column in self._columns)
        taken = ", ".join(_taken(column) for column in self._columns)
        names = ", ".join(f'"{name}"' for name in columns)
        self.statement: TextClause = text(
            f"INSERT INTO {table.name} ({names}) SELECT {taken} FROM unnest({arrays}) AS given ({names}) {then}"
        )

    def given(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
        """What `statement` is executed with."""
        return {
            column.name: (
                [as_json(row[column.name]) for row in rows]
                if isinstance(column.type, JSONB)
                else [row[column.name] for row in rows]
            )
            for column in self._columns
        }


def as_json(value: Any) -> str | None:
    """A value for a JSON column, as text; None is SQL's null."""
    return None if value is None else orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


def _sent_as(column: Column[Any]) -> str:
    return "text" if isinstance(column.type, JSONB) else column.type.compile(dialect=_DIALECT)


def _taken(column: Column[Any]) -> str:
    return f'CAST("{column.name}" AS jsonb)' if isinstance(column.type, JSONB) else f'"{column.name}"'
