"""Whether every list answers its first page, its page at offset 10,000 and its searches from an index.

    python -m benchmarks.plans [--contacts 200000] [--events 2000000]

Asks the REST routes of a seeded database, on a Postgres of its own, and has Postgres explain what they asked it. A
plan is refused where it reads a whole large table, or sorts a large part of one. Counting all that match is not looked
at: `total` is a count.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks.seed import seed, sizes
from hogsend.app import create_app
from hogsend.boot import open_runtime
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from hogsend.storage.embedded import EmbeddedStack
from hogsend.storage.migrate import migrate

DEEP = 10_000
KEY = "plans"
LARGE = (
    "contacts",
    "user_events",
    "journey_states",
    "email_sends",
    "decisions",
    "activity",
    "audit_logs",
    "dead_letters",
    "alerts",
)
# A page of a sort that may be empty is put together from two parts, each as long as the offset.
MOST_SORTED = 2 * (DEEP + 200)
# An empty partition is read whole, and costs less than this.
LEAST_COST = 500.0

# Each is asked at both ends. Contact 0 is the seed's whale.
LISTS: Sequence[tuple[str, Mapping[str, str]]] = (
    ("/contacts", {}),
    ("/contacts/user0/timeline", {}),
    ("/contacts/user0/timeline", {"type": "event"}),
    ("/journeys/activation-welcome/states", {}),
    ("/journeys/activation-welcome/states", {"status": "completed"}),
    ("/emails", {}),
    ("/emails", {"toEmail": "often@example.com"}),
    ("/emails", {"templateKey": "welcome"}),
    ("/emails", {"status": "opened"}),
    ("/emails", {"journeyId": "activation-welcome"}),
    ("/emails", {"sort": "sentAt"}),
    ("/emails", {"sort": "openedAt"}),
    ("/emails", {"sort": "clickedAt", "order": "asc"}),
    ("/events", {}),
    ("/events", {"event": "file.opened"}),
    ("/events", {"userId": "user0"}),
    ("/audit-logs", {}),
    ("/audit-logs", {"actor": "legacy"}),
    ("/audit-logs", {"resource": "contact"}),
    ("/audit-logs", {"action": "create"}),
    ("/dlq", {}),
    ("/dlq", {"status": "pending"}),
    ("/alerts/history", {}),
)
# What finds few: asked at the first page only.
SEARCHES: Sequence[tuple[str, Mapping[str, str]]] = (
    ("/contacts", {"search": "user123"}),
    ("/contacts", {"search": "ER143@"}),
    ("/emails", {"userId": "user17"}),
    ("/events", {"userId": "user17"}),
    ("/journeys/activation-welcome/states", {"userId": "user18"}),
)


@dataclass
class Asked:
    """One statement as it went to Postgres."""

    statement: str
    parameters: Sequence[Any]


@dataclass
class Page:
    """One route at one offset: how long it took, its plans, and what is wrong with them."""

    route: str
    query: Mapping[str, str]
    seconds: float
    plans: list[Mapping[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@contextmanager
def listening(engine: AsyncEngine) -> Iterator[list[Asked]]:
    """The statements that go to Postgres meanwhile."""
    asked: list[Asked] = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append(Asked(statement, tuple(parameters)))

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", note)


async def look_at(runtime: Runtime, client: httpx.AsyncClient, *, deep: int = DEEP) -> list[Page]:
    """Every list at both ends, and every search."""
    pages: list[Page] = []
    for route, query in LISTS:
        for offset in (0, deep):
            pages.append(await _page(runtime, client, route, {**query, "offset": str(offset)}))
    for route, query in SEARCHES:
        pages.append(await _page(runtime, client, route, query))
    return pages


async def _page(runtime: Runtime, client: httpx.AsyncClient, route: str, query: Mapping[str, str]) -> Page:
    began = time.perf_counter()
    with listening(runtime.database.engine) as asked:
        answer = await client.get(f"/v1/admin{route}", params=dict(query))
    page = Page(route, query, time.perf_counter() - began)
    rows = next((value for value in answer.json().values() if isinstance(value, list)), [])
    if answer.status_code != 200 or not rows:
        page.problems.append(f"answered {answer.status_code} with {len(rows)} rows")
    for one in asked:
        if one.statement.startswith("SELECT") and not one.statement.startswith("SELECT count("):
            page.plans.append(await explained(runtime, one))
    for plan in page.plans:
        page.problems += _wrong(plan)
    return page


async def explained(runtime: Runtime, asked: Asked) -> Mapping[str, Any]:
    """A statement's plan, with the parameters that it was asked with."""
    async with runtime.database.read() as conn:
        raw = (await conn.get_raw_connection()).driver_connection
        assert raw is not None
        answer = await raw.fetchval(f"EXPLAIN (FORMAT JSON) {asked.statement}", *asked.parameters)
    plan: Mapping[str, Any] = answer[0]["Plan"]
    return plan


def nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every node of a plan, from the top."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def reads_all_of(node: Mapping[str, Any]) -> str | None:
    """The large table that a node reads from one end to the other, or None."""
    table = str(node.get("Relation Name", ""))
    return table if "Seq Scan" in node["Node Type"] and table.startswith(LARGE) else None


def _wrong(plan: Mapping[str, Any]) -> Iterator[str]:
    for node in nodes(plan):
        table = reads_all_of(node)
        if table is not None and node["Total Cost"] > LEAST_COST:
            yield f"reads all of {table}"
        if "Sort" in node["Node Type"] and node["Plans"][0]["Plan Rows"] > MOST_SORTED:
            yield f"sorts {node['Plans'][0]['Plan Rows']} rows"


async def run(database_url: str, redis_url: str, contacts: int, events: int) -> list[Page]:
    settings = Settings(
        database_url=database_url,
        redis_url=redis_url,
        admin_api_key=KEY,
        rate_limit=100_000,
        email_provider="memory",
    )
    async with open_runtime(settings) as runtime:
        await migrate(runtime.database)
        async with runtime.database.transaction() as conn:
            await seed(conn, contacts=contacts, events=events, now=datetime.now(UTC))
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(create_app(settings, runtime)),
            base_url="http://plans.test",
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=120,
        ) as client:
            return await look_at(runtime, client)


def main() -> None:
    given = sizes(__doc__)
    with (
        tempfile.TemporaryDirectory(prefix="hogsend-plans-") as directory,
        EmbeddedStack(Path(directory), throwaway=True) as stack,
    ):
        pages = asyncio.run(run(stack.database_url, stack.redis_url, given.contacts, given.events))
    console = Console()
    for page in pages:
        asked = "&".join(f"{name}={value}" for name, value in page.query.items())
        verdict = "; ".join(page.problems) or "from an index"
        console.print(f"{page.seconds * 1000:8.1f} ms  {page.route}?{asked}  {verdict}", markup=False)
    sys.exit(1 if any(page.problems for page in pages) else 0)


if __name__ == "__main__":
    main()
