"""A pytest plug-in: the tests that take longest are begun first, so that no worker is left with one at the end.

`tests/durations.json` has the seconds of each test that took half a second or more; `--note-durations` writes it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

KEPT = Path(__file__).parent / "durations.json"
WORTH_NOTING = 0.5

_seconds: dict[str, float] = defaultdict(float)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--note-durations", action="store_true", help=f"write {KEPT.name}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a group run in one process: the group stands where its whole sum belongs."""
    known: dict[str, float] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    groups: dict[str, float] = defaultdict(float)
    for item in items:
        groups[_group(item)] += known.get(item.nodeid, 0.0)
    items.sort(key=lambda item: -groups[_group(item)])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _seconds[report.nodeid.partition("@")[0]] += report.duration


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("--note-durations") and not hasattr(session.config, "workerinput"):
        noted = {name: round(took, 1) for name, took in _seconds.items() if took >= WORTH_NOTING}
        KEPT.write_text(json.dumps(noted, indent=1, sort_keys=True) + "\n")


def _group(item: pytest.Item) -> str:
    marker = item.get_closest_marker("xdist_group")
    return str(marker.args[0]) if marker is not None and marker.args else item.nodeid
