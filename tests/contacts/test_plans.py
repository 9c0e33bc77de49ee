"""Every list, at both ends, and every search has an index that answers it.

Postgres is told to avoid what an index saves, so that a small table's plan is a large one's. `benchmarks/plans.py` asks
the same of 200,000 contacts and 2,000,000 events with the planner as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from benchmarks.plans import SEARCHES, look_at, nodes, reads_all_of
from benchmarks.seed import seed
from hogsend.clock import ManualClock
from hogsend.runtime import Runtime
from tests.driving import listening


def sorts_a_table(plan: Mapping[str, Any]) -> bool:
    """Whether something is sorted that was not cut to a page. (Finding a contact ranks the three that it may be.)"""
    return any(
        "Sort" in node["Node Type"]
        and node["Sort Key"] != ["(1)"]
        and all(below["Node Type"] != "Limit" for below in nodes(node))
        for node in nodes(plan)
    )


async def test_every_list_is_read_from_an_index(
    client: httpx.AsyncClient, runtime: Runtime, clock: ManualClock
) -> None:
    async with runtime.database.transaction() as conn:
        await seed(conn, contacts=400, events=2_000, now=clock.now())

    def avoid(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("SET enable_seqscan = off")
        cursor.execute("SET enable_sort = off")
        cursor.close()
        connection.commit()

    searches = [(route, dict(query)) for route, query in SEARCHES]
    with listening(runtime.database.engine, "connect", avoid):
        await runtime.database.engine.dispose()
        pages = await look_at(runtime, client, deep=30)
    for page in pages:
        asked = f"{page.route} {dict(page.query)}"
        assert page.plans, asked
        assert page.problems == [], asked
        for plan in page.plans:
            tables = [table for node in nodes(plan) if (table := reads_all_of(node))]
            assert tables == [], f"{asked} reads all of {tables}"
            if (page.route, dict(page.query)) not in searches:
                assert not sorts_a_table(plan), f"{asked} sorts what it reads"
