"""The table of `docs/outages.md`, cell by cell, and that all is well again after each outage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from hogsend import health
from hogsend.analytics import captures
from hogsend.emails.sending import protocol as sending
from hogsend.execution import advance as runner
from hogsend.execution.claimed_run import ClaimedRun
from hogsend.realtime import bus
from hogsend.rest import middleware
from hogsend.settings import Settings
from hogsend.storage import database
from tests.faults.outages import Outage
from tests.faults.site import Site, open_site
from tests.servers import create_database
from tests.standins.hatchet import HatchetStandIn
from tests.standins.proxy import Fault, Slow

DEPENDENCIES = ("Postgres", "Redis", "Hatchet", "Resend", "PostHog")
ACTIVITIES = ("boot", "ingest", "send", "query", "mutation", "subscription", "`/v1/health`", "`/readyz`")

# Five seconds are long beside what we wait for Postgres and for PostHog, and short beside what we wait for Resend.
# Here both are about a tenth of that, and the wait for Resend is as it is; so it is for Redis and Hatchet.
SLOW = {"Postgres": 0.6, "Redis": 5.0, "Hatchet": 5.0, "Resend": 1.0, "PostHog": 0.6}


def documented() -> dict[tuple[str, str], dict[str, str]]:
    """The table's rows, by dependency and trouble."""
    page = (Path(__file__).parents[2] / "docs" / "outages.md").read_text()
    table = page[page.index("| dependency | trouble |") :].partition("\n\n")[0]
    head, _, *body = ([cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines())
    return {(row[0], row[1]): dict(zip(head[2:], row[2:], strict=True)) for row in body}


def test_the_table_is_whole() -> None:
    table = documented()
    assert set(table) == {(name, trouble) for name in DEPENDENCIES for trouble in ("down", "slow", "reset")}
    assert all(tuple(row) == ACTIVITIES for row in table.values())


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """What is tried again is tried again soon."""
    monkeypatch.setattr(sending, "pause_after", lambda _attempt: timedelta(seconds=0.3))
    monkeypatch.setattr(sending, "LEASE", timedelta(seconds=2))
    monkeypatch.setattr(runner, "RUN_LEASE", timedelta(seconds=2))
    monkeypatch.setattr(ClaimedRun.lock_and_check, "__defaults__", (timedelta(seconds=2),))
    monkeypatch.setattr(health, "LONGEST_CHECK", 0.5)
    monkeypatch.setattr(bus, "POLL_WITH_REDIS", 0.5)
    monkeypatch.setattr(captures, "LEASE", timedelta(seconds=2))
    monkeypatch.setattr(captures, "LONGEST_BACKOFF", timedelta(seconds=0.3))
    monkeypatch.setattr(captures, "TIMEOUT_SECONDS", 0.5)
    return monkeypatch


@pytest.fixture
async def site(
    request: pytest.FixtureRequest,
    hurried: pytest.MonkeyPatch,
    settings: Settings,
    postgres_url: str,
    clean: None,
) -> AsyncIterator[Site]:
    own = await create_database(postgres_url, f"outages_{uuid4().hex[:8]}")
    mine = settings.model_copy(update={"database_url": own})
    if request.param == "Postgres":
        hurried.setattr(database, "PING_SECONDS", 0.3)
        hurried.setattr(database, "CONNECT_SECONDS", 0.5)
        hurried.setattr(database, "STATEMENT_SECONDS", 4.0)
        hurried.setattr(database, "POOL_SECONDS", 1.0)
        hurried.setattr(middleware, "LONGEST_REQUEST", 3.0)
    with HatchetStandIn() if request.param == "Hatchet" else nullcontext() as hatchet:
        async with open_site(mine, hatchet) as site:
            yield site


# One of them every day; `make test-all` has the others.
@pytest.mark.parametrize(
    ("site", "dependency"),
    [pytest.param(name, name, marks=() if name == "PostHog" else pytest.mark.slow) for name in DEPENDENCIES],
    indirect=["site"],
)
async def test_what_is_seen_while_it_is_away(site: Site, dependency: str) -> None:
    await _hold_to_the_table(site, dependency)


async def _hold_to_the_table(site: Site, dependency: str) -> None:
    table = documented()
    troubles = {"down": Fault.REFUSE, "slow": Slow(SLOW[dependency]), "reset": Fault.RESET}
    for name, trouble in troubles.items():
        row = table[dependency, name]
        async with Outage(site, dependency, trouble) as outage:
            assert await outage.during(row["`/v1/health`"], row["`/readyz`"]) == row, f"{dependency} {name}"
            await outage.after()
