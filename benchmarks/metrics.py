"""What metrics cost beside their floor, and what counting costs who writes, at few events and at many.

    python -m benchmarks.metrics [--events 10000 1000000] [--asks 50]

On a Postgres of its own. For each number of events (they are added up) it asks the REST routes; the floor is the same
statement by hand, over one connection; beside it stand the pages that the statement touches, and what counting the rows
themselves takes. Last, what an event's INSERT takes with the triggers that count and without.
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
AT_ONCE = 500_000
ROUTES = ("/metrics/events", "/metrics/overview")
# Indexes that metrics do not use take most of the time of filling; the statements are the same without.
SPARED = ("contact_seq", "contact_name", "contact", "name")
SCAN = {
    "/metrics/events": "SELECT date_trunc('day', occurred_at, 'UTC'), name, count(*) FROM user_events GROUP BY 1, 2",
    "/metrics/overview": "SELECT count(*) FILTER (WHERE sent_at >= now() - interval '1 day'), count(*),"
    " count(bounced_at) FROM email_sends WHERE sent_at >= now() - interval '30 days'",
}
EVENTS = text("""
    INSERT INTO user_events (id, occurred_at, name, received_at)
    SELECT gen_random_uuid(), CAST(:now AS timestamptz) - g % 2160 * interval '1 hour', 'e' || g % 5, :now
    FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS g
""")
EMAILS = text("""
    INSERT INTO email_sends (id, send_key, template_key, from_email, to_email, subject, status, sent_at, delivered_at,
                             created_at, updated_at)
    SELECT gen_random_uuid(), 'k' || g, 't' || g % 5, 'a@example.com', 'b@example.com', 's', 'delivered', at, at, at, at
    FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS g,
         LATERAL (SELECT CAST(:now AS timestamptz) - g % 2160 * interval '1 hour' AS at) AS time
""")
ONE = (
    "INSERT INTO user_events (id, occurred_at, name, received_at)"
    " VALUES (gen_random_uuid(), now(), 'one', now())"
)


async def fill(runtime: Runtime, there: int, wanted: int) -> None:
    """Events up to `wanted`, and a tenth of it of emails, over 90 days."""
    for statement, part in ((EVENTS, 1), (EMAILS, 10)):
        for first in range(there // part, wanted // part, AT_ONCE):
            last = min(first + AT_ONCE, wanted // part) - 1
            async with runtime.database.transaction() as conn:
                values = {"first": first, "last": last, "now": datetime.now(UTC)}
                await asyncio.wait_for(conn.execute(statement, values), 600)
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


async def counting(runtime: Runtime, asks: int) -> tuple[float, float]:
    """Median ms of an event's INSERT in a transaction that is rolled back: with the triggers, and without."""
    async with runtime.database.each_alone() as conn:
        raw: Any = (await conn.get_raw_connection()).driver_connection
        took = []
        for change in ("ENABLE", "DISABLE"):
            transaction = raw.transaction()
            await transaction.start()
            await raw.execute(f"ALTER TABLE user_events {change} TRIGGER count_event_stats_insert")
            took.append(await median_ms(lambda: raw.execute(ONE), asks * 10))
            await transaction.rollback()
    return took[0], took[1]


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
                await fill(runtime, there, count)
                console.print(f"{count:,} events are there after {time.perf_counter() - began:.0f} s")
                there = count
                for route in ROUTES:
                    table.add_row(f"{count:,}", route, *await measure(runtime, client, route, asks))
        console.print(table)
        counted, bare = await counting(runtime, asks)
        console.print(f"an event's INSERT: {counted:.3f} ms counted, {bare:.3f} ms not counted")


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
