"""The check of the books: what does not hold is found once, settled where it holds again, and nothing else is found."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from hogsend.alerts import invariants
from hogsend.alerts.invariants import check_invariants
from hogsend.clock import ManualClock
from hogsend.emails.sending.reopen import reopen_one
from hogsend.ingestion.replay import replay
from hogsend.operations.versions import keep_versions
from hogsend.runtime import Runtime
from tests.alerts.evaluating import MINUTE, a_rule, history, minutes
from tests.driving import drive, rows, send_email, send_event

LATER = timedelta(minutes=11)


@pytest.fixture
async def deployed(runtime: Runtime, clock: ManualClock) -> Runtime:
    """A runtime whose journeys have been known for a while, and whose books are checked from here on."""
    async with runtime.database.transaction() as conn:
        await keep_versions(conn, clock.now(), runtime.registry.all(), ())
    await check_invariants(runtime)
    clock.advance(LATER)
    return runtime


async def passes(runtime: Runtime, clock: ManualClock) -> list[tuple[str, str | None]]:
    """Check as often as it takes to see what is new; what was found, and about which journey."""
    for _ in range(3):
        clock.advance(LATER)
        await check_invariants(runtime)
    found = await rows(runtime, "SELECT kind, journey_id FROM invariant_findings ORDER BY kind, journey_id")
    return [(row.kind, row.journey_id) for row in found]


async def execute(runtime: Runtime, statement: str, **values: Any) -> int:
    async with runtime.database.transaction() as conn:
        return (await conn.execute(text(statement), values)).rowcount


async def test_the_books_of_a_busy_day_hold(deployed: Runtime, clock: ManualClock) -> None:
    for number in range(5):
        await send_event(deployed, "user.signed_up", email=f"person-{number}@example.com")
        await send_event(deployed, "nobody.listens", email=f"person-{number}@example.com")
    ingested = await send_event(deployed, "user.signed_up")
    await replay(deployed, ingested.event_id)
    await drive(deployed)
    sent = await send_email(deployed, "x@example.com")
    async with deployed.database.transaction() as conn:
        await reopen_one(conn, deployed, sent.email_id)
    await execute(deployed, "UPDATE email_sends SET status = 'sent' WHERE status IN ('queued', 'rendered')")
    assert await rows(deployed, "SELECT 1 FROM decisions WHERE kind = 'send' AND detail ? 'retried'")
    assert await rows(deployed, "SELECT 1 FROM decisions WHERE detail ? 'replayed'")
    assert await passes(deployed, clock) == []
    [progress] = await rows(deployed, "SELECT * FROM invariant_progress")
    [end] = await rows(deployed, "SELECT max(seq) AS seq FROM activity")
    assert progress.checked_seq == end.seq > 0


@pytest.mark.parametrize("batch", [1, 3, 2_000])
async def test_each_broken_invariant_is_found_once(
    deployed: Runtime, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(invariants, "BATCH", batch)
    [journey, *_] = deployed.registry.listening_to("user.signed_up")
    lost = (await send_event(deployed, "user.signed_up", email="lost@example.com")).event_id
    twice = (await send_event(deployed, "user.signed_up", email="twice@example.com")).event_id
    await drive(deployed)
    await execute(
        deployed,
        "DELETE FROM decisions WHERE event_id = :event AND journey_id = :journey AND kind = 'enrolled'",
        event=lost,
        journey=journey.id,
    )
    copied = """INSERT INTO decisions (id, at, kind, reason, detail, journey_id, event_id, email_id)
        SELECT gen_random_uuid(), at, kind, reason, detail, journey_id, event_id, email_id FROM decisions
        WHERE {} LIMIT 1"""
    enrolled = f"event_id = '{twice}' AND journey_id = '{journey.id}' AND kind = 'enrolled'"
    await execute(deployed, copied.format(enrolled))
    gone, doubled, waiting = [await send_email(deployed, f"{name}@example.com") for name in "gdw"]
    await execute(deployed, "DELETE FROM email_sends WHERE id = :id", id=gone.email_id)
    await execute(deployed, copied.format(f"email_id = '{doubled.email_id}' AND kind = 'send'"))
    await execute(
        deployed,
        "UPDATE email_sends SET status = 'sent' WHERE id <> :id AND status IN ('queued', 'rendered')",
        id=waiting.email_id,
    )
    for _ in range(2):
        assert await passes(deployed, clock) == [
            ("decision_without_send", None),
            ("event_decided_twice", journey.id),
            ("event_without_decision", journey.id),
            ("send_decided_twice", None),
        ]
    clock.advance(timedelta(hours=25))
    assert ("send_without_end", None) in await passes(deployed, clock)
    open_ones = "SELECT kind FROM invariant_findings WHERE settled_at IS NULL"
    assert len(await rows(deployed, open_ones)) == 5
    await execute(deployed, "UPDATE email_sends SET status = 'sent' WHERE id = :id", id=waiting.email_id)
    await replay(deployed, lost)
    await passes(deployed, clock)
    assert {row.kind for row in await rows(deployed, open_ones)} == {
        "decision_without_send",
        "event_decided_twice",
        "send_decided_twice",
    }


async def test_an_event_from_before_a_deploy_is_not_held_against_a_new_journey(
    runtime: Runtime, clock: ManualClock
) -> None:
    await check_invariants(runtime)
    clock.advance(LATER)
    await send_event(runtime, "user.signed_up")
    await execute(runtime, "DELETE FROM decisions WHERE kind = 'enrolled'")
    async with runtime.database.transaction() as conn:
        await keep_versions(conn, clock.now(), runtime.registry.all(), ())
    await send_event(runtime, "user.signed_up", email="during@example.com")
    await execute(runtime, "DELETE FROM decisions WHERE kind = 'enrolled'")
    assert await passes(runtime, clock) == [], "processes of the old code may have taken it in"


async def test_what_commits_late_is_not_passed_over(deployed: Runtime, clock: ManualClock) -> None:
    async with deployed.database.transaction() as slow:
        # It has its number in the log now, and commits when later numbers were seen already.
        await slow.execute(text("SELECT nextval(pg_get_serial_sequence('activity', 'seq'))"))
        number = (
            await slow.execute(text("SELECT currval(pg_get_serial_sequence('activity', 'seq'))"))
        ).scalar_one()
        await send_email(deployed, "quick@example.com")
        await check_invariants(deployed)
        decision = "01890f00-0000-7000-8000-000000000001"
        await slow.execute(
            text(
                "INSERT INTO decisions (id, at, kind, reason, email_id) VALUES"
                f" ('{decision}', :at, 'send', 'api_asked', gen_random_uuid())"
            ),
            {"at": clock.now()},
        )
        await slow.execute(
            text(
                "INSERT INTO activity (seq, at, kind, type, ref_id) OVERRIDING SYSTEM VALUE VALUES"
                f" (:seq, :at, 'decision', 'send', '{decision}')"
            ),
            {"seq": number, "at": clock.now()},
        )
        clock.advance(MINUTE)
        await check_invariants(deployed)
    assert await passes(deployed, clock) == [("decision_without_send", None)]


async def test_a_finding_fires_its_rule_and_shows_what_it_is_about(
    deployed: Runtime, clock: ManualClock, client: httpx.AsyncClient
) -> None:
    await a_rule(deployed, type="invariant_broken", threshold=0)
    sent = await send_email(deployed)
    await minutes(deployed, clock)
    assert await history(deployed) == []
    clock.advance(timedelta(hours=26))
    await check_invariants(deployed)
    await minutes(deployed, clock)
    assert await history(deployed) == [(1, "firing")]
    document = "{ alerts { nodes { lookAt { query variables } } } }"
    answer = (await client.post("/graphql", json={"query": document})).json()
    [alert] = answer["data"]["alerts"]["nodes"]
    found = (await client.post("/graphql", json=alert["lookAt"])).json()["data"]["invariantFindings"]["nodes"]
    assert [(one["kind"], one["email"]["id"]) for one in found] == [
        ("SEND_WITHOUT_END", f"email_{sent.email_id}")
    ]
    await execute(deployed, "UPDATE email_sends SET status = 'sent'")
    await check_invariants(deployed)
    await minutes(deployed, clock, 3)
    assert await history(deployed) == [(1, "cleared")]


async def test_a_pass_reads_what_is_new_by_its_number(deployed: Runtime) -> None:
    """However long the log is: both ends of it, and a range."""
    for query in (
        "SELECT max(seq) FROM activity",
        "SELECT ref_id FROM activity WHERE seq > 5 AND seq <= 9 ORDER BY seq LIMIT 2000",
    ):
        async with deployed.database.transaction() as conn:
            await conn.execute(text("SET LOCAL enable_seqscan = off"))
            plan = "\n".join((await conn.execute(text(f"EXPLAIN {query}"))).scalars())
        assert "pk_activity" in plan, plan
