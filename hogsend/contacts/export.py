"""Contact export: CSV or JSON of one consistent snapshot, streamed from a cursor of the server."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import orjson
from sqlalchemy import Row, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.contacts.lookup import matches
from hogsend.storage.database import Database
from hogsend.tables.contacts import contacts

Format = Literal["csv", "json"]

MOST = 10_000
ROWS_A_CHUNK = 200
MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
_KEYS = ("externalId", "email")
# What a spreadsheet takes for the beginning of a formula; full-width forms and leading blanks count too.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")

_c = contacts.c


@asynccontextmanager
async def exported(
    database: Database, format: Format, *, search: str | None = None, limit: int = MOST
) -> AsyncIterator[AsyncIterator[bytes]]:
    """The file in pieces, last seen first. The snapshot and its connection are held until the block ends.

    Whatever is written meanwhile does not show, and memory does not grow with the number of contacts.
    """
    async with database.exports.connect() as conn:
        await conn.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        chosen = _chosen(search, limit)
        if format == "csv":
            yield _csv(conn, chosen, await _property_names(conn, chosen))
        else:
            yield _json(conn, chosen)


def _chosen(search: str | None, limit: int) -> Select[Any]:
    query = select(contacts).where(_c.deleted_at.is_(None))
    if search:
        query = query.where(matches(search))
    return query.order_by(_c.last_seen_at.desc(), _c.id.desc()).limit(limit)


async def _property_names(conn: AsyncConnection, chosen: Select[Any]) -> list[str]:
    rows = chosen.subquery()
    name = func.jsonb_object_keys(rows.c.properties).label("name")
    found = await conn.execute(select(name).distinct().order_by(name))
    return list(found.scalars())


async def _csv(conn: AsyncConnection, chosen: Select[Any], names: Sequence[str]) -> AsyncIterator[bytes]:
    columns = [*_KEYS, *(f"properties.{name}" if name in _KEYS else name for name in names)]
    yield _csv_lines([[_defused(column) for column in columns]])
    async for rows in _chunks(conn, chosen):
        yield _csv_lines(
            [
                _defused(row.external_id or ""),
                _defused(row.email or ""),
                *(_cell(row.properties.get(name)) for name in names),
            ]
            for row in rows
        )


def _csv_lines(lines: Sequence[Sequence[str]] | Iterator[Sequence[str]]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerows(lines)
    return buffer.getvalue().encode()


def _cell(value: object) -> str:
    """Numbers and true/false are what they are; whatever a person could have typed is defused."""
    match value:
        case None:
            return ""
        case str():
            return _defused(value)
        case dict() | list():
            return orjson.dumps(value).decode()
    return orjson.dumps(value).decode()


def _defused(text: str) -> str:
    """With an apostrophe before it, a spreadsheet shows a formula and does not run it."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


async def _json(conn: AsyncConnection, chosen: Select[Any]) -> AsyncIterator[bytes]:
    before = b"["
    async for rows in _chunks(conn, chosen):
        yield before + b",".join(orjson.dumps(as_json(row)) for row in rows)
        before = b","
    yield b"[]" if before == b"[" else b"]"


async def _chunks(conn: AsyncConnection, chosen: Select[Any]) -> AsyncIterator[Sequence[Row[Any]]]:
    async with conn.stream(chosen, execution_options={"yield_per": ROWS_A_CHUNK}) as result:
        async for rows in result.partitions():
            yield rows


def as_json(contact: Row[Any]) -> dict[str, Any]:
    """A contact as the REST contract writes it."""
    return {
        "id": str(contact.id),
        "externalId": contact.external_id,
        "email": contact.email,
        "properties": contact.properties,
        "firstSeenAt": _instant(contact.first_seen_at),
        "lastSeenAt": _instant(contact.last_seen_at),
        "createdAt": _instant(contact.created_at),
        "updatedAt": _instant(contact.updated_at),
    }


def _instant(value: Any) -> str:
    text: str = value.isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
