"""Batches over the wire: an answer each, in order; one that is wrong, or that fails, is nothing to the others."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from hogsend.events.event import NewEvent
from hogsend.ingestion.batch import MOST_EVENTS, ingest_batch
from hogsend.ingestion.pipeline import IngestResult
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from tests.driving import rows
from tests.fixtures.graphql import Ask

ROUTE = "/v1/events/batch"
INGEST = """mutation ($events: [EventIngestInput!]!) { eventsIngest(input: {events: $events}) {
  stored results { stored event { name userId } exits { journeyId } error { field message retry } }
  userErrors { field message code } } }"""


async def test_each_event_has_its_own_answer_in_order(client: httpx.AsyncClient, runtime: Runtime) -> None:
    events: list[Any] = [
        {"name": "seen", "userId": "ada"},
        {"name": "", "userId": "ada"},
        "no event",
        {"name": "seen", "userId": "undefined"},
        {"name": "seen", "userId": "bob", "idempotencyKey": "k", "eventProperties": {"a": "x\x00y"}},
        {"name": "seen", "email": "bob@example.com", "idempotencyKey": "k"},
        {"name": "seen", "userId": "eve", "idempotencyKey": "k"},
        {"name": "seen", "userId": "ada", "timestamp": "yesterday"},
    ]
    response = await client.post(ROUTE, json={"events": events})
    assert response.status_code == 202
    results = response.json()["results"]
    assert [one.get("stored") for one in results] == [True, None, None, None, None, True, False, None]
    fields = [one["error"]["field"] for one in results if "error" in one]
    assert fields == ["name", "", "userId", "eventProperties.a", "timestamp"]
    assert not any(one["error"]["retry"] for one in results if "error" in one)
    assert results[5]["eventId"] == results[6]["eventId"]
    assert len(await rows(runtime, "SELECT 1 FROM user_events")) == 2
    assert len(await rows(runtime, "SELECT 1 FROM contacts")) == 2


async def test_a_poison_event_falls_out_of_its_batch_alone(
    client: httpx.AsyncClient, runtime: Runtime, poisoned: None
) -> None:
    bad = {7, 8, 33}
    events = [
        {
            "name": "seen",
            "userId": f"u{number}",
            "idempotencyKey": f"k{number}",
            "eventProperties": {"poison": True} if number in bad else {},
        }
        for number in range(50)
    ]
    results = (await client.post(ROUTE, json={"events": events})).json()["results"]
    assert {number for number, one in enumerate(results) if "error" in one} == bad
    assert all(results[number]["error"]["retry"] for number in bad)
    for table in ("user_events", "event_keys", "contacts", "activity"):
        assert len(await rows(runtime, f"SELECT 1 FROM {table}")) == 47, table


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "events"), ({"events": []}, "events"), ({"events": [{}] * (MOST_EVENTS + 1)}, "events")],
)
async def test_a_batch_that_is_none_is_refused_as_a_whole(
    client: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    response = await client.post(ROUTE, json=body)
    assert response.status_code == 400
    assert response.json()["details"][0]["path"] == field


async def test_a_key_in_the_header_is_of_no_batch(client: httpx.AsyncClient) -> None:
    body = {"events": [{"name": "seen", "userId": "ada"}]}
    response = await client.post(ROUTE, json=body, headers={"Idempotency-Key": "k"})
    assert response.status_code == 400
    assert "Idempotency-Key" in response.json()["error"]


async def test_a_thousand_events_of_hundreds_of_people_are_all_there(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    events = [{"name": f"seen.{number}", "userId": f"u{number % 300}"} for number in range(MOST_EVENTS)]
    results = (await client.post(ROUTE, json={"events": events})).json()["results"]
    assert all(one["stored"] for one in results)
    found = await rows(runtime, "SELECT id, name FROM user_events")
    assert {(str(row.id), row.name) for row in found} == {
        (one["eventId"], event["name"]) for one, event in zip(results, events, strict=True)
    }
    assert len(await rows(runtime, "SELECT 1 FROM contacts")) == 300


async def test_a_batch_is_no_way_around_the_rate(
    settings: Settings, client: httpx.AsyncClient, runtime: Runtime
) -> None:
    runtime.settings.ingest_rate_limit = 10
    event = {"name": "seen", "userId": "ada"}
    first = await client.post(ROUTE, json={"events": [event] * 7})
    assert (first.status_code, first.headers["X-RateLimit-Remaining"]) == (202, "3")
    second = await client.post(ROUTE, json={"events": [event] * 7})
    assert (second.status_code, "Retry-After" in second.headers) == (429, True)
    assert len(await rows(runtime, "SELECT 1 FROM user_events")) == 7


async def test_the_mutation_answers_for_each_and_leaves_one_audit_row(ask: Ask, runtime: Runtime) -> None:
    events = [
        {"name": "seen", "userId": "ada", "idempotencyKey": "k"},
        {"name": "seen", "userId": "undefined"},
        {"name": "seen", "userId": "ada", "idempotencyKey": "k"},
    ]
    answer = (await ask(INGEST, {"events": events}))["eventsIngest"]
    assert answer["stored"] == 1
    first, wrong, again = answer["results"]
    assert first == again | {"stored": True}
    assert (first["event"], first["error"]) == ({"name": "seen", "userId": "ada"}, None)
    assert (wrong["stored"], wrong["event"], wrong["error"]["field"]) == (None, None, ["userId"])
    (audited,) = await rows(runtime, "SELECT action, resource, outcome, detail FROM audit_logs")
    assert (audited.action, audited.resource, audited.outcome) == ("create", "event", "ok")
    assert audited.detail == {
        "operation": "eventsIngest",
        "events": 3,
        "stored": 1,
        "failed": 1,
        "seen": 1,
    }


async def test_the_mutation_refuses_a_batch_that_is_none(ask: Ask) -> None:
    answer = (await ask(INGEST, {"events": []}))["eventsIngest"]
    assert [error["field"] for error in answer["userErrors"]] == [["events"]]
    assert answer["results"] is None


async def test_what_links_and_merges_in_the_middle_keeps_its_place(runtime: Runtime) -> None:
    results = await ingest_batch(
        runtime,
        [
            NewEvent("seen", external_id="ada"),
            NewEvent("seen", email="ada@example.com"),
            NewEvent("seen", external_id="ada", email="ada@example.com"),
            NewEvent("seen", email="ada@example.com", contact_properties={"plan": "pro"}),
        ],
    )
    assert all(isinstance(one, IngestResult) and one.stored for one in results)
    alive = await rows(
        runtime, "SELECT external_id, email, properties FROM contacts WHERE deleted_at IS NULL"
    )
    assert [tuple(row) for row in alive] == [("ada", "ada@example.com", {"plan": "pro"})]
