"""What metrics cost does not grow with what they count: the same number of buffers at few facts and at many."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.metrics import queries
from hogsend.metrics.fold import fold
from hogsend.metrics.periods import Period, Span
from hogsend.metrics.rollups import ROLLUPS
from hogsend.runtime import Runtime

NOW = datetime(2026, 3, 18, 9, tzinfo=UTC)
FEW, MANY = 1_000, 20_000
WEEK = Span(NOW - timedelta(days=6), NOW - timedelta(microseconds=1))

STATEMENTS: dict[str, Callable[[AsyncConnection], Awaitable[Any]]] = {
    "overview": lambda conn: queries.overview(conn, NOW),
    "journeys": lambda conn: queries.journeys(conn, {}),
    "journey": lambda conn: queries.journey(conn, "j1"),
    "emails": lambda conn: queries.emails(conn, Span(), untemplated=True),
    "emails of a week": lambda conn: queries.emails(conn, WEEK),
    "deliverability": lambda conn: queries.deliverability(conn, Period.DAY, Span()),
    "events": lambda conn: queries.events(conn, Period.DAY, Span()),
    "events by hour": lambda conn: queries.events(conn, Period.HOUR, WEEK),
}

# Ten days, a few names, templates and journeys: every hour has some of each, so there are as many cells whatever `n`.
_ROWS = """
FROM generate_series(1, CAST(:n AS int)) AS g,
     LATERAL (SELECT CAST(:now AS timestamptz) - g % 240 * interval '1 hour' - interval '1 s' AS at) AS time
"""
FACTS = (
    f"""
    INSERT INTO contacts (id, email, first_seen_at, last_seen_at, created_at, updated_at)
    SELECT gen_random_uuid(), CAST(CAST(:n AS int) AS text) || '-' || g, at, at, at, at {_ROWS}
    """,
    f"""
    INSERT INTO user_events (id, occurred_at, name, received_at)
    SELECT gen_random_uuid(), at, 'e' || g % 4, at {_ROWS}
    """,
    f"""
    INSERT INTO email_sends (id, send_key, journey_id, template_key, from_email, to_email, subject, status,
                             sent_at, delivered_at, created_at, updated_at)
    SELECT gen_random_uuid(), CAST(CAST(:n AS int) AS text) || '-' || g, 'j' || g % 2, 't' || g % 2,
           'a@x', 'b@x', 's', 'sent', at, at, at, at {_ROWS}
    """,
    """
    INSERT INTO journey_states (id, journey_id, contact_id, email, status, version, created_at, updated_at,
                                completed_at)
    SELECT gen_random_uuid(), 'j' || row_number() OVER () % 2, id, 'x', 'completed', 'v', created_at, :now, :now
    FROM contacts WHERE email LIKE CAST(CAST(:n AS int) AS text) || '-%'
    """,
)


async def seed(runtime: Runtime, count: int) -> None:
    """So many facts of each kind more, counted, folded and vacuumed."""
    async with runtime.database.transaction() as conn:
        for statement in FACTS:
            await conn.execute(text(statement), {"n": count, "now": NOW})
    await fold(runtime)
    async with runtime.database.each_alone() as conn:
        tables = ", ".join(rollup.table.name for rollup in ROLLUPS)
        await conn.execute(text(f"VACUUM (FULL, ANALYZE) {tables}"))
        # FULL leaves no page marked as visible to all; whether autovacuum has come by must make no difference.
        await conn.execute(text(f"VACUUM {tables}"))


async def buffers(runtime: Runtime, ask: Callable[[AsyncConnection], Awaitable[Any]]) -> int:
    """Pages that the statement of `ask` touches, read off the plan of its run."""
    sent: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        sent.append((statement, parameters))

    async with runtime.database.each_alone() as conn:
        event.listen(conn.sync_connection, "before_cursor_execute", note)
        await ask(conn)
        [(statement, parameters)] = sent
        raw = (await conn.get_raw_connection()).driver_connection
        assert raw is not None
        explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
        await raw.fetch(explain, *parameters)
        [plan] = await raw.fetchval(explain, *parameters)
    whole: dict[str, int] = plan["Plan"]
    return whole["Shared Hit Blocks"] + whole["Shared Read Blocks"]


async def test_as_many_buffers_at_few_facts_and_at_many(runtime: Runtime) -> None:
    await seed(runtime, FEW)
    few = {name: await buffers(runtime, ask) for name, ask in STATEMENTS.items()}
    await seed(runtime, MANY)
    many = {name: await buffers(runtime, ask) for name, ask in STATEMENTS.items()}
    assert many == pytest.approx(few, abs=2), (few, many)
    assert max(many.values()) < 100
