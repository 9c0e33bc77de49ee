"""What metrics cost beside their floor, and what counting costs who writes, at few events and at many.

    python -m benchmarks.metrics [--events 10000 1000000] [--asks 50]

On a Postgres of its own. For each number of events it asks the REST routes; the floor is the same
statement by hand, over one connection; beside it stand the pages that the statement touches, and what counting the rows
themselves takes. Last, what changes of rows take with the triggers that count and without.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table
from sqlalchemy import event, text

from hogsend.app import create_app
from hogsend.boot import open_runtime
from hogsend.metrics.fold import fold
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from hogsend.storage.embedded import EmbeddedStack
from hogsend.storage.migrate import migrate

KEY = "metrics"
AT_ONCE = 200_000
ROUTES = ("/metrics/events", "/metrics/overview")
# Indexes that metrics do not use take most of the time of filling; the statements are the same without.
SPARED = ("contact_seq", "contact_name", "contact", "name")
SCAN = {
    "/metrics/events": "SELECT date_trunc('day', occurred_at, 'UTC'), name, count(*) FROM user_events GROUP BY 1, 2",
    "/metrics/overview": "SELECT count(*) FILTER (WHERE sent_at >= now() - interval '1 day'), count(*),"
    " count(bounced_at) FROM email_sends WHERE sent_at >= now() - interval '30 days'",
}
# Row `g` of `:rows` more, spread over 90 days, with a name by the hour: as many cells whatever the number of rows. Ids
# in a row, as those of events are.
_ROWS = """
FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS g,
     LATERAL (SELECT g * 7776000.0 / CAST(:rows AS bigint) AS seconds,
                     lpad(to_hex(CAST(:rows AS bigint)), 12, '0') || lpad(to_hex(g), 20, '0') AS id) AS row,
     LATERAL (SELECT CAST(:now AS timestamptz) - seconds * interval '1 s' AS at) AS time,
     LATERAL (SELECT CAST(extract(epoch FROM at) / 3600 AS bigint) % 5 AS kind) AS hour
"""
EVENTS = text(f"""
    INSERT INTO user_events (id, occurred_at, name, received_at)
    SELECT CAST(id AS uuid), at, 'e' || kind, at {_ROWS}
""")
EMAILS = text(f"""
    INSERT INTO email_sends (id, send_key, template_key, from_email, to_email, subject, status, sent_at, delivered_at,
                             created_at, updated_at)
    SELECT gen_random_uuid(), gen_random_uuid(), 't' || kind, 'a@example.com', 'b@example.com', 's', 'delivered',
           at, at, at, at {_ROWS}
""")
RUN = """
    WITH person AS (
        INSERT INTO contacts (id, first_seen_at, last_seen_at, created_at, updated_at)
        VALUES (gen_random_uuid(), now(), now(), now(), now()) RETURNING id
    )
    INSERT INTO journey_states (id, journey_id, contact_id, email, status, version, created_at, updated_at)
    SELECT gen_random_uuid(), 'benchmark', id, 'a@example.com', 'active', 'v', now(), now() FROM person
"""
CHANGES = {
    "an event's INSERT": "INSERT INTO user_events (id, occurred_at, name, received_at)"
    " VALUES (gen_random_uuid(), now(), 'one', now())",
    "a run's change of status": "UPDATE journey_states SET status ="
    " CASE status WHEN 'active' THEN 'waiting' ELSE 'active' END WHERE journey_id = 'benchmark'",
}


async def fill(runtime: Runtime, rows: int) -> None:
    """So many events more, and a hundredth of it of emails."""
    now = datetime.now(UTC)
    for statement, wanted in ((EVENTS, rows), (EMAILS, max(rows // 100, 5_000))):
        for first in range(0, wanted, AT_ONCE):
            values = {"first": first, "last": min(first + AT_ONCE, wanted) - 1, "now": now, "rows": wanted}
            async with runtime.database.transaction() as conn:
                await conn.execute(statement, values)
    await fold(runtime)
    async with runtime.database.each_alone() as conn:
        await conn.execute(text("VACUUM ANALYZE event_stats, sent_stats, email_stats"))
        await conn.execute(text("ANALYZE user_events, email_sends"))


async def median_ms(ask: Callable[[], Awaitable[object]], times: int) -> float:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        await ask()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


async def measure(runtime: Runtime, client: httpx.AsyncClient, route: str, asks: int) -> tuple[str, ...]:
    """Medians of the route, of its statement by hand and of counting the rows, in ms; and pages touched."""
    asked: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    async def ask() -> None:
        (await client.get(f"/v1/admin{route}")).raise_for_status()

    await ask()
    event.listen(runtime.database.engine.sync_engine, "before_cursor_execute", note)
    await ask()
    event.remove(runtime.database.engine.sync_engine, "before_cursor_execute", note)
    [(statement, parameters)] = [one for one in asked if "_stats" in one[0]]
    routed = await median_ms(ask, asks)
    async with runtime.database.each_alone() as conn:
        raw: Any = (await conn.get_raw_connection()).driver_connection
        floor = await median_ms(lambda: raw.fetch(statement, *parameters), asks)
        explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
        [plan] = await raw.fetchval(explain, *parameters)
        scan = await median_ms(lambda: raw.fetch(SCAN[route], timeout=300), 3)
    pages = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
    return f"{routed:.1f}", f"{floor:.1f}", str(pages), f"{scan:.1f}"


async def counting(runtime: Runtime, asks: int) -> list[str]:
    """What Postgres says that each of CHANGES takes, and the triggers that count in it; each is rolled back."""
    told = []
    async with runtime.database.each_alone() as conn:
        raw: Any = (await conn.get_raw_connection()).driver_connection
        await raw.execute(RUN)
        for what, change in CHANGES.items():
            whole, counted = [], []
            for _ in range(asks):
                transaction = raw.transaction()
                await transaction.start()
                [plan] = await raw.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {change}")
                await transaction.rollback()
                whole.append(plan["Execution Time"])
                counted.append(
                    sum(one["Time"] for one in plan["Triggers"] if one["Trigger Name"].startswith("count_"))
                )
            told.append(
                f"{what}: {statistics.median(whole):.3f} ms, of which {statistics.median(counted):.3f} count"
            )
    return told


async def run(stack: EmbeddedStack, counts: list[int], asks: int) -> None:
    console, table = Console(), Table("events", "route", "route, ms", "by hand, ms", "pages", "scan, ms")
    settings = Settings(
        database_url=stack.database_url,
        redis_url=stack.redis_url,
        admin_api_key=KEY,
        rate_limit=1_000_000,
        email_provider="memory",
    )
    async with open_runtime(settings) as runtime:
        await migrate(runtime.database)
        async with runtime.database.transaction() as conn:
            for index in SPARED:
                await conn.execute(text(f"DROP INDEX ix_user_events_{index}"))
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(create_app(settings, runtime)),
            base_url="http://localhost",
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=300,
        )
        there = 0
        async with client:
            for count in sorted(counts):
                began = time.perf_counter()
                await fill(runtime, count - there)
                console.print(f"{count:,} events are there after {time.perf_counter() - began:.0f} s")
                there = count
                for route in ROUTES:
                    table.add_row(f"{count:,}", route, *await measure(runtime, client, route, asks))
        console.print(table)
        for line in await counting(runtime, asks):
            console.print(line)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--asks", type=int, default=50)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="hogsend-metrics-") as directory,
        EmbeddedStack(Path(directory), throwaway=True) as stack,
    ):
        asyncio.run(run(stack, given.events, given.asks))


if __name__ == "__main__":
    main()
