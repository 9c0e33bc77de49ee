"""What is counted, what waits, and that no caller can make a series."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import insert, text

from hogsend import days
from hogsend.app import create_app
from hogsend.clock import ManualClock
from hogsend.deadletters.actions import add_dead_letter
from hogsend.engine.crons import Cron, run_cron
from hogsend.engine.outbox import CAPTURE, RUN_WAKE, enqueue_job, publish_later
from hogsend.monitoring.backlog import MOST, QUEUES, READ, read_backlog
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from hogsend.tables.deadletters import DeadLetterSource
from hogsend.tables.engine import jobs
from tests.conftest import ADMIN_KEY, served
from tests.driving import drive, send_event, statements
from tests.monitoring.conftest import Scraper
from tests.serving.socket import open_socket

EVENT = {"name": "user.signed_up", "userId": "ada", "email": "ada@example.com", "eventProperties": {}}


async def test_an_event_is_counted_all_the_way(
    runtime: Runtime, client: httpx.AsyncClient, figures: Scraper
) -> None:
    before = await figures()
    for _ in range(2):
        answer = await client.post("/v1/events", json=EVENT, headers={"Idempotency-Key": "once-and-again"})
        assert answer.status_code == 202
    await drive(runtime)
    after = await figures()

    def grew(name: str, **labels: str) -> float:
        return after.of(name, **labels) - before.of(name, **labels)

    assert grew("hogsend_requests_total", operation="POST /v1/events", status="202") == 2
    assert grew("hogsend_request_seconds_count", operation="POST /v1/events") == 2
    assert grew("hogsend_events_total") == 1
    assert grew("hogsend_deduplicated_total", what="event") == 1
    assert grew("hogsend_decisions_total", kind="enrolled", reason="trigger_matched") == 1
    assert grew("hogsend_slices_total", state="waiting") == 1
    assert grew("hogsend_sends_total", outcome="sent") == 1
    assert grew("hogsend_provider_seconds_count", provider="memory", answer="sent") == 1


async def test_what_is_rolled_back_is_not_counted(runtime: Runtime, figures: Scraper) -> None:
    before = await figures()
    with pytest.raises(ZeroDivisionError):
        async with runtime.database.transaction() as conn:
            await _dead_letter(runtime, conn)
            raise ZeroDivisionError
    async with runtime.database.transaction() as conn:
        await conn.execute(text("SELECT 1"))
    name = "hogsend_dead_letters_total"
    assert (await figures()).of(name, source="webhook") == before.of(name, source="webhook")
    async with runtime.database.transaction() as conn:
        await _dead_letter(runtime, conn)
    assert (await figures()).of(name, source="webhook") == before.of(name, source="webhook") + 1


async def _dead_letter(runtime: Runtime, conn: object) -> None:
    await add_dead_letter(
        conn,  # type: ignore[arg-type]
        runtime.clock,
        source=DeadLetterSource.WEBHOOK,
        source_id=uuid4().hex,
        error="no",
        payload={},
    )


async def test_what_callers_write_makes_no_series(
    client: httpx.AsyncClient, live_server: str, figures: Scraper
) -> None:
    """Names of operations, paths, methods, ids: the first of each may make a series of ours, the next hundred none."""

    async def write(word: str) -> None:
        document = {"query": f"query {word} {{ health {{ status }} }}", "operationName": word}
        assert (await client.post("/graphql", json=document)).status_code == 200
        await client.post("/graphql", json={"documentId": word})
        await client.get(f"/{word}/{word}")
        await client.get(f"/v1/admin/contacts/{word}?q={word}")
        await client.request(word.upper(), "/graphql")
        await client.request(word.upper(), f"/v1/{word}")
        await client.get("/v1/admin/contacts", headers={"Authorization": f"Bearer {word}"})
        async with open_socket(live_server) as socket:
            await socket.init()
            await socket.subscribe(word, document["query"])
            await socket.next(word)

    await write("first")
    known = (await figures()).series.keys()
    for number in range(12):
        await write(f"w{number}x{uuid4().hex}")
    assert (await figures()).series.keys() == known


async def test_a_trusted_document_names_its_operation(
    runtime: Runtime, settings: Settings, tmp_path: Path, figures: Scraper
) -> None:
    name = f"HowIsIt{uuid4().hex[:8]}"
    file = tmp_path / "documents.json"
    file.write_text(json.dumps({"abc": f"query {name} {{ health {{ status }} }}"}))
    chosen = settings.model_copy(update={"trusted_documents": "allow", "trusted_documents_file": file})
    runtime.settings = chosen
    transport = httpx.ASGITransport(create_app(chosen, runtime))
    async with httpx.AsyncClient(
        transport=transport,
        base_url="http://hogsend.test",
        headers={"Authorization": f"Bearer {ADMIN_KEY}"},
    ) as http:
        assert (await http.post("/graphql", json={"documentId": "abc"})).status_code == 200
    told = await figures()
    assert told.of("hogsend_requests_total", operation=f"query {name}", status="200") == 1
    assert told.of("hogsend_graphql_operations_total", kind="query", name=name) == 1


async def test_what_waits_is_read_from_the_rows(
    runtime: Runtime, clock: ManualClock, figures: Scraper
) -> None:
    await send_event(runtime, "user.signed_up")
    async with runtime.database.transaction() as conn:
        await publish_later(conn, clock, RUN_WAKE, {})
        await publish_later(conn, clock, CAPTURE, {})
        await enqueue_job(conn, clock, "a-kind", {})
        await enqueue_job(conn, clock, "a-kind", {}, delay=days(1))
        await _dead_letter(runtime, conn)
    clock.advance(timedelta(seconds=90))
    told = await figures()
    depth = {name: told.of("hogsend_queue_depth", queue=name) for name in QUEUES}
    # The enrollment hints at its run, and each job at itself.
    assert depth == {
        "outbox": 4,
        "captures": 1,
        "jobs": 1,
        "runs": 1,
        "overdue_runs": 1,
        "emails": 0,
        "delivery_events": 0,
        "dead_letters": 1,
    }
    oldest = {name: told.of("hogsend_queue_oldest_seconds", queue=name) for name in QUEUES}
    assert oldest == {name: 90.0 if depth[name] else 0.0 for name in QUEUES}


async def test_crons_tell_their_age_and_whether_they_fail(
    runtime: Runtime, clock: ManualClock, figures: Scraper
) -> None:
    async def fail(_runtime: Runtime) -> None:
        raise ZeroDivisionError

    async def work(_runtime: Runtime) -> None:
        return

    before = await figures()
    await run_cron(runtime, Cron("good", timedelta(minutes=1), work))
    await run_cron(runtime, Cron("bad", timedelta(minutes=1), fail))
    clock.advance(timedelta(seconds=7))
    told = await figures()
    assert [told.of("hogsend_cron_failing", cron=name) for name in ("good", "bad")] == [0, 1]
    assert told.of("hogsend_cron_age_seconds", cron="good") == 7
    for name, outcome in (("good", "done"), ("bad", "failed")):
        counted = told.of("hogsend_cron_runs_total", cron=name, outcome=outcome)
        assert counted == before.of("hogsend_cron_runs_total", cron=name, outcome=outcome) + 1


async def test_a_queue_is_counted_to_an_end(runtime: Runtime, clock: ManualClock) -> None:
    row = {"kind": "a-kind", "payload": {}, "run_at": clock.wall(), "created_at": clock.wall()}
    async with runtime.database.transaction() as conn:
        await conn.execute(insert(jobs), [{"id": uuid4(), **row} for _ in range(MOST + 3)])
    assert (await read_backlog(runtime)).queues["jobs"].depth == MOST


async def test_each_figure_is_a_range_of_an_index(runtime: Runtime) -> None:
    """Whatever the tables hold: with sequential scans made dear, the plan has none, and a limit on each range."""
    async with runtime.database.read() as conn:
        await conn.execute(text("SET LOCAL enable_seqscan = off"))
        await conn.execute(text("SET LOCAL enable_bitmapscan = off"))
        now = runtime.clock.now()
        given = {"wall": now, "now": now, "overdue": now, "most": MOST}
        plan = (await conn.execute(text(f"EXPLAIN {READ.text}"), given)).scalars().all()
    told = "\n".join(plan)
    assert "Seq Scan" not in told, told
    assert told.count("Limit") == len(QUEUES)
    assert " Sort" not in told, told


async def test_a_storm_of_scrapes_asks_once(
    runtime: Runtime, figures: Scraper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hogsend.monitoring.backlog.FRESH_SECONDS", 60.0)
    with statements(runtime.database, runtime.database.health) as asked:
        await asyncio.gather(*(figures() for _ in range(30)))
    assert len([one for one in asked if "FROM outbox" in one]) == 1
    assert len(asked) == 2


async def test_streams_and_sockets_that_are_open(
    settings: Settings, runtime: Runtime, figures: Scraper
) -> None:
    query = "subscription { eventReceived { cursor } }"
    async with served(create_app(settings, runtime)) as url, httpx.AsyncClient(base_url=url) as http:
        before = await figures()
        headers = {"Authorization": f"Bearer {ADMIN_KEY}", "Accept": "text/event-stream"}
        async with http.stream("POST", "/graphql", json={"query": query}, headers=headers) as answer:
            assert answer.status_code == 200
            async with open_socket(url) as socket:
                await socket.init()
                during = await figures()
        for transport in ("sse", "websocket"):
            name = "hogsend_streams_open"
            assert during.of(name, transport=transport) == before.of(name, transport=transport) + 1
    after = await figures()
    for transport in ("sse", "websocket"):
        assert after.of(name, transport=transport) == before.of(name, transport=transport)


async def test_limits_that_are_full_are_counted(
    settings: Settings, runtime: Runtime, figures: Scraper
) -> None:
    before = (await figures()).of("hogsend_rate_limited_total", limit="admin")
    runtime.settings = settings.model_copy(update={"rate_limit": 1})
    transport = httpx.ASGITransport(create_app(runtime.settings, runtime))
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://hogsend.test", headers=headers
    ) as http:
        statuses = [(await http.get("/v1/admin/contacts")).status_code for _ in range(2)]
    assert statuses == [200, 429]
    assert (await figures()).of("hogsend_rate_limited_total", limit="admin") == before + 1
