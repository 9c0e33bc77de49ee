"""What is exported, what the page of operations says, and what the dashboard asks for are the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from hogsend.engine.crons import Cron, run_cron
from hogsend.monitoring.backlog import QUEUES
from hogsend.runtime import Runtime
from tests.monitoring.conftest import KEY

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "operations.md").read_text()
DASHBOARD = DOCS / "grafana" / "hogsend.json"


async def exported(runtime: Runtime, client: httpx.AsyncClient) -> dict[str, str]:
    """Each metric of ours, and its kind."""

    async def work(_runtime: Runtime) -> None:
        return

    await run_cron(runtime, Cron("a-cron", timedelta(minutes=1), work))
    answer = await client.get("/metrics", headers={"Authorization": f"Bearer {KEY}"})
    return dict(re.findall(r"^# TYPE (hogsend_\w+) (\w+)$", answer.text, re.M))


async def test_each_metric_has_one_row_and_each_row_a_metric(
    runtime: Runtime, client: httpx.AsyncClient
) -> None:
    told = re.findall(r"^\| `(hogsend_\w+)` \| (\w+) \|", PAGE, re.M)
    assert sorted(told) == sorted((await exported(runtime, client)).items())


def test_each_queue_has_a_row() -> None:
    (table,) = re.findall(r"^\| queue \|.*\n\|.*\n((?:\| .*\n)+)", PAGE, re.M)
    assert re.findall(r"^\| `(\w+)` ", table, re.M) == list(QUEUES)


async def test_the_dashboard_asks_for_what_is_exported(runtime: Runtime, client: httpx.AsyncClient) -> None:
    known = await exported(runtime, client)
    asked = {name for query in queries(json.loads(DASHBOARD.read_text())) for name in names(query, known)}
    # The client library has those of the process.
    assert asked - known.keys() == {"process_resident_memory_bytes"}
    assert known.keys() - asked == set(), "nobody would look at these"


def queries(dashboard: dict[str, Any]) -> Iterator[str]:
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"]


def names(query: str, known: dict[str, str]) -> Iterator[str]:
    """The metrics in a query: a histogram is asked for by its parts."""
    for name in re.findall(r"\b(?:hogsend|process|python)_\w+", query):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        yield base if known.get(base) == "histogram" else name


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
