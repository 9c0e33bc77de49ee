"""What a page touches does not grow with the rows around it: at most twice the buffers at ten times the rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from benchmarks.seed import seed
from hogsend.clock import ManualClock
from hogsend.runtime import Runtime
from hogsend.schema.contacts.collections import CONTACTS, TIMELINE
from hogsend.schema.emails.collections import EMAILS
from hogsend.storage.collections import Collection, PageRange, Selection, page_statement
from hogsend.storage.compiled import CompiledStatement
from hogsend.storage.metadata import metadata
from hogsend.tables.realtime import activity

PAGE = 20
# What a plan reads of an entry: nothing besides its fields, all of which the index holds.
SHOWN = replace(TIMELINE, columns=[activity.c[name] for name in ("seq", "at", "kind", "type", "ref_id")])


async def rows(conn: AsyncConnection, sql: str, *values: Any) -> list[Any]:
    raw: Any = (await conn.get_raw_connection()).driver_connection
    found: list[Any] = await raw.fetch(sql, *values)
    return found


async def buffers(conn: AsyncConnection, selection: Selection, window: PageRange) -> int:
    """Pages of memory or disk that reading one page of the list touches."""
    parents = [] if selection.parent is None else [selection.parent]
    statement = CompiledStatement.of(page_statement(selection, window, parents))
    for _ in range(2):  # The first one fills caches, and marks rows.
        [row] = await rows(
            conn, f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement.sql}", *statement.values({})
        )
    [told] = row[0] if isinstance(row[0], list) else json.loads(row[0])
    plan: Mapping[str, Any] = told["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def deep(conn: AsyncConnection, collection: Collection) -> PageRange:
    """A page from the middle of the list."""
    selection = collection.all()
    sort = collection.sorts[selection.sort].column
    [[count]] = await rows(conn, f"SELECT count(*) FROM {collection.key.table.name}")
    wanted = f"SELECT * FROM {collection.key.table.name} ORDER BY {sort.key} DESC, id DESC"
    [row] = await rows(conn, f"{wanted} LIMIT 1 OFFSET {count // 2}")
    return PageRange(PAGE, after=selection.place(selection.cursor(row)))


async def touched(conn: AsyncConnection, person: UUID, whale: UUID) -> dict[str, int]:
    """Buffers of each kind of page."""
    first = PageRange(PAGE)
    of = {
        "timeline": SHOWN.under(activity.c.contact_id, person),
        "timeline of the busiest": SHOWN.under(activity.c.contact_id, whale),
        "contacts": CONTACTS.all(),
        "emails": EMAILS.all(),
    }
    found = {name: await buffers(conn, selection, first) for name, selection in of.items()}
    for name, collection in {"contacts": CONTACTS, "emails": EMAILS}.items():
        found[f"{name} from the middle"] = await buffers(conn, collection.all(), await deep(conn, collection))
    found["search"] = await buffers(conn, CONTACTS.all().filtered(search="user77@"), first)
    return found


async def measured(runtime: Runtime, clock: ManualClock, size: int) -> dict[str, int]:
    async with runtime.database.transaction() as conn:
        # The key that addresses are hashed with is the database's own, for every test behind this one.
        emptied = [name for name in metadata.tables if name != "consent_key"]
        await conn.execute(text(f"TRUNCATE {', '.join(emptied)}"))
        await seed(conn, contacts=300 * size, events=3_000 * size, now=clock.now())
    async with runtime.database.each_alone() as conn:
        await conn.execute(text("VACUUM ANALYZE contacts, activity, email_sends, user_events"))
        [[person]] = await rows(conn, "SELECT id FROM contacts WHERE external_id = 'user77'")
        [[whale]] = await rows(conn, "SELECT id FROM contacts WHERE external_id = 'user0'")
        return await touched(conn, person, whale)


async def test_a_page_touches_as_much_among_ten_times_the_rows(runtime: Runtime, clock: ManualClock) -> None:
    few, many = [await measured(runtime, clock, size) for size in (1, 10)]
    # Few rows lie together on a page or two: each row of a page may be in one of its own.
    bounds = {name: 2 * max(few[name], PAGE + 1) + 4 for name in few}
    assert {name: (few[name], many[name]) for name in few if many[name] > bounds[name]} == {}
