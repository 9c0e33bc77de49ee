"""What metrics, alerts and dead letters cost: the same number of statements, whatever the page."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import insert

from hogsend.alerts.actions import create_rule
from hogsend.clock import ManualClock
from hogsend.deadletters.actions import add_dead_letter
from hogsend.runtime import Runtime
from hogsend.storage.metadata import new_id
from hogsend.tables.alerts import alerts, invariant_findings
from tests.driving import send_email, statements

MANY = 6
RULE: dict[str, Any] = {
    "name": "Failures",
    "type": "journey_failure_spike",
    "threshold": 3,
    "channel": "email",
    "channel_config": {"to": "ops@example.com"},
}
DOCUMENTS = {
    "metrics": (
        """{ metrics {
            overview { totalContacts } journeys { enrolled journey { name } } journey(id: "trial-expiring") { failed }
            emails { sent } deliverability { total } events { count } } }""",
        6,
    ),
    "alertRules": (
        """query ($n: Int) { alertRules(first: $n) { totalCount nodes {
            name currentValue alerts(first: $n) { totalCount nodes { triggeredAt } } } } }""",
        5,
    ),
    "alerts": (
        "query ($n: Int) { alerts(first: $n) { totalCount nodes { ruleName rule { name currentValue } } } }",
        4,
    ),
    "invariantFindings": (
        """query ($n: Int) { invariantFindings(first: $n) { totalCount nodes {
            kind event { id } decision { id } email { subject } } } }""",
        4,
    ),
    "deadLetters": (
        """query ($n: Int) { deadLetters(first: $n) { totalCount nodes {
            error subject { id ... on Email { subject } ... on Job { kind } } } } }""",
        5,
    ),
}


@pytest.fixture
async def trouble(runtime: Runtime, clock: ManualClock) -> None:
    """Rules that fired, and dead letters of every source."""
    for number in range(MANY):
        rule = await create_rule(runtime, RULE)
        fired = {
            "id": new_id(),
            "rule_id": rule["id"],
            "rule_name": rule["name"],
            "type": rule["type"],
            "current_value": 5,
            "threshold": 3,
            "channel": "email",
            "triggered_at": clock.now(),
            "resolved_at": clock.now(),
        }
        sent = await send_email(runtime, f"p{number}@example.com")
        async with runtime.database.transaction() as conn:
            await conn.execute(insert(alerts).values(fired))
            finding = {"kind": "send_without_end", "subject": str(number), "email_id": sent.email_id}
            row = {"id": new_id(), "found_at": clock.now(), **finding}
            await conn.execute(insert(invariant_findings).values(row))
            for source, source_id in (("email", sent.email_id), ("journey", new_id()), ("webhook", new_id())):
                await bury_one(runtime, conn, source, source_id)


async def bury_one(runtime: Runtime, conn: Any, source: str, source_id: UUID) -> None:
    await add_dead_letter(
        conn, runtime.clock, source=source, source_id=str(source_id), error="no", payload={}
    )


@pytest.mark.parametrize("root", DOCUMENTS)
async def test_a_longer_page_costs_no_more(
    client: httpx.AsyncClient, runtime: Runtime, trouble: None, root: str
) -> None:
    document, most = DOCUMENTS[root]
    costs = []
    for size in (3, 3 * MANY):
        request = {"query": document, "variables": {"n": size}}
        await client.post("/graphql", json=request)
        with statements(runtime.database) as seen:
            body = (await client.post("/graphql", json=request)).json()
        assert "errors" not in body
        costs.append(len(seen))
    assert costs[0] == costs[1] <= most, costs
