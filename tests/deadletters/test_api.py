"""The DLQ over HTTP: the rows of the contract, and GraphQL."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from hogsend.clock import ManualClock
from hogsend.emails.providers import ProviderRefused
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.engine.jobs import Work, due_jobs, run_job
from hogsend.journeys.registry import Registry
from hogsend.runtime import Runtime
from hogsend.tables.access import audit_logs
from tests.driving import drive
from worker.work import WORK

DLQ = "/v1/admin/dlq"
NOBODY = "00000000-0000-4000-8000-000000000000"
DOCUMENT = """
query ($filter: DeadLetterFilter) {
  deadLetters(filter: $filter) {
    totalCount
    nodes { id source status retryCount subject { id ... on Email { toEmail status } } }
  }
}
"""
MANY = """
mutation ($input: DeadLettersRetryInput!) {
  deadLettersRetry(input: $input) { retried refused results { deadLetterId retried reason } userErrors { field code } }
}
"""


async def work_off(runtime: Runtime, work: Work = WORK) -> None:
    while due := await due_jobs(runtime, 50):
        for job_id in due:
            await run_job(runtime, work, job_id, "test")


def provider_of(runtime: Runtime) -> MemoryProvider:
    assert isinstance(runtime.provider, MemoryProvider)
    return runtime.provider


async def fail_to_write(client: httpx.AsyncClient, runtime: Runtime, *people: str) -> None:
    """An email to each, which the provider refuses."""
    for person in people:
        provider_of(runtime).faults.append(ProviderRefused("mailbox does not exist"))
        sent = await client.post("/v1/emails", json={"to": f"{person}@example.com", "template": "welcome"})
        assert sent.status_code == 202, sent.text
        await work_off(runtime)


async def ask(client: httpx.AsyncClient, document: str, **variables: Any) -> Any:
    body = (await client.post("/graphql", json={"query": document, "variables": variables})).json()
    assert "errors" not in body, body
    return body["data"]


async def test_an_email_that_could_not_be_sent_is_listed_and_goes_out_on_a_retry(
    client: httpx.AsyncClient, runtime: Runtime, clock: ManualClock
) -> None:
    await fail_to_write(client, runtime, "ada")
    [email] = (await client.get("/v1/admin/emails")).json()["emails"]
    listed = (await client.get(DLQ)).json()
    [entry] = listed["entries"]
    UUID(entry["id"])
    assert listed == {"entries": [entry], "total": 1, "limit": 50, "offset": 0}
    assert entry == {
        "id": entry["id"],
        "source": "email",
        "sourceId": email["id"],
        "payload": {"emailId": email["id"], "to": "ada@example.com", "template": "welcome"},
        "error": "mailbox does not exist",
        "retryCount": 0,
        "status": "pending",
        "retriedAt": None,
        "createdAt": "2026-01-15T10:30:00.000Z",
    }
    clock.advance(timedelta(hours=1))
    calls = [client.post(f"{DLQ}/{entry['id']}/retry") for _ in range(4)]
    answers = await asyncio.gather(*calls)
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 3}
    [done] = [answer.json() for answer in answers if answer.status_code == 200]
    assert done == {"id": entry["id"], "status": "retried", "retriedAt": "2026-01-15T11:30:00.000Z"}
    [why] = {answer.text for answer in answers if answer.status_code == 409}
    assert why == '{"error":"DLQ entry is not pending"}'
    await work_off(runtime)
    assert len(provider_of(runtime).to("ada@example.com")) == 1
    assert (await client.get(f"/v1/admin/emails/{email['id']}")).json()["email"]["status"] == "sent"
    [entry] = (await client.get(DLQ, params={"status": "retried"})).json()["entries"]
    assert (entry["status"], entry["retriedAt"]) == ("retried", "2026-01-15T11:30:00.000Z")


async def test_what_is_discarded_stays(client: httpx.AsyncClient, runtime: Runtime) -> None:
    await fail_to_write(client, runtime, "ada")
    [entry] = (await client.get(DLQ)).json()["entries"]
    discarded = await client.delete(f"{DLQ}/{entry['id']}")
    assert (discarded.status_code, discarded.json()) == (200, {"id": entry["id"], "status": "discarded"})
    for again in (
        await client.delete(f"{DLQ}/{entry['id']}"),
        await client.post(f"{DLQ}/{entry['id']}/retry"),
    ):
        assert (again.status_code, again.json()) == (409, {"error": "DLQ entry is not pending"})
    assert (await client.get(DLQ)).json()["entries"] == [entry | {"status": "discarded"}]


@pytest.mark.parametrize("name", [NOBODY, "nonsense", "a%00b"])
async def test_what_is_not_there(client: httpx.AsyncClient, name: str) -> None:
    for missing in (await client.delete(f"{DLQ}/{name}"), await client.post(f"{DLQ}/{name}/retry")):
        assert (missing.status_code, missing.json()) == (404, {"error": "DLQ entry not found"})


async def test_filters_and_pages(client: httpx.AsyncClient, runtime: Runtime, clock: ManualClock) -> None:
    for person in ("ada", "bob", "cy"):
        clock.advance(timedelta(minutes=1))
        await fail_to_write(client, runtime, person)
    entries = (await client.get(DLQ)).json()["entries"]
    assert [entry["payload"]["to"][:3] for entry in entries] == ["cy@", "bob", "ada"]
    await client.delete(f"{DLQ}/{entries[0]['id']}")
    pending = (await client.get(DLQ, params={"status": "pending", "source": "email"})).json()
    assert [entry["id"] for entry in pending["entries"]] == [entry["id"] for entry in entries[1:]]
    page = (await client.get(DLQ, params={"limit": 1, "offset": 2})).json()
    assert ([entry["id"] for entry in page["entries"]], page["total"]) == ([entries[2]["id"]], 3)
    assert (await client.get(DLQ, params={"source": "journey"})).json()["entries"] == []
    for wrong in ({"source": "pigeon"}, {"status": "lost"}, {"limit": "0"}, {"offset": "-1"}):
        response = await client.get(DLQ, params=wrong)
        assert (response.status_code, response.json()["details"][0]["path"]) == (400, next(iter(wrong)))


async def test_what_it_stands_for_is_one_link_away(client: httpx.AsyncClient, runtime: Runtime) -> None:
    await fail_to_write(client, runtime, "ada")
    data = await ask(client, DOCUMENT, filter={"source": "EMAIL", "status": "PENDING"})
    [node] = data["deadLetters"]["nodes"]
    assert node["subject"]["toEmail"] == "ada@example.com"
    assert node["subject"]["id"].startswith("email_")
    [found] = (await ask(client, "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=[node["id"]]))[
        "nodes"
    ]
    assert found == {"id": node["id"]}


async def test_many_at_once_after_a_look(client: httpx.AsyncClient, runtime: Runtime) -> None:
    await fail_to_write(client, runtime, "ada", "bob", "cy")
    nodes = (await ask(client, DOCUMENT))["deadLetters"]["nodes"]
    keys = [node["id"] for node in nodes]
    await client.delete(f"{DLQ}/{keys[1].removeprefix('deadletter_')}")
    would = (await ask(client, MANY, input={"ids": keys, "dryRun": True}))["deadLettersRetry"]
    assert (would["retried"], would["refused"], would["userErrors"]) == (2, 1, [])
    assert would["results"][0] == {
        "deadLetterId": keys[1],
        "retried": False,
        "reason": "DLQ entry is not pending",
    }
    assert await due_jobs(runtime, 10) == []
    for _ in range(2):
        done = (await ask(client, MANY, input={"source": "EMAIL", "idempotencyKey": "k"}))["deadLettersRetry"]
        assert (done["retried"], done["refused"]) == (2, 0)
    await work_off(runtime)
    assert len(provider_of(runtime).accepted) == 2
    other = (await ask(client, MANY, input={"idempotencyKey": "k"}))["deadLettersRetry"]
    assert other["userErrors"] == [{"field": ["idempotencyKey"], "code": "IDEMPOTENCY_KEY_REUSED"}]
    wrong = (await ask(client, MANY, input={"ids": ["nonsense"]}))["deadLettersRetry"]
    assert wrong["userErrors"] == [{"field": ["ids", "0"], "code": "INVALID"}]


async def test_a_run_that_broke_can_be_taken_up_again(client: httpx.AsyncClient, runtime: Runtime) -> None:
    event = {"name": "user.signed_up", "userId": "ada", "email": "ada@example.com"}
    await client.post("/v1/events", json=event)
    known, runtime.registry = runtime.registry, Registry([])
    await drive(runtime)
    [entry] = (await client.get(DLQ, params={"source": "journey"})).json()["entries"]
    assert entry["payload"]["reason"] == "journey_missing"
    runtime.registry = known
    assert (await client.post(f"{DLQ}/{entry['id']}/retry")).status_code == 200
    await drive(runtime)
    [state] = (await client.get("/v1/admin/journeys/activation-welcome/states")).json()["states"]
    assert (state["id"], state["status"]) == (entry["sourceId"], "waiting")


async def test_a_run_that_was_cancelled_leaves_nothing_to_retry(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    event = {"name": "user.signed_up", "userId": "ada", "email": "ada@example.com"}
    await client.post("/v1/events", json=event)
    known, runtime.registry = runtime.registry, Registry([])
    await drive(runtime)
    runtime.registry = known
    [entry] = (await client.get(DLQ)).json()["entries"]
    cancelled = await client.delete(f"/v1/admin/journeys/activation-welcome/states/{entry['sourceId']}")
    assert cancelled.status_code == 200, cancelled.text
    refused = await client.post(f"{DLQ}/{entry['id']}/retry")
    assert refused.status_code == 409
    assert refused.json() == {"error": "DLQ entry is not pending"}


async def test_settling_leaves_audit_rows(client: httpx.AsyncClient, runtime: Runtime) -> None:
    await fail_to_write(client, runtime, "ada", "bob")
    first, second = (entry["id"] for entry in (await client.get(DLQ)).json()["entries"])
    await client.post(f"{DLQ}/{first}/retry")
    await client.post(f"{DLQ}/{first}/retry")
    await client.delete(f"{DLQ}/{second}")
    await ask(client, MANY, input={"source": "EMAIL"})
    async with runtime.database.read() as conn:
        rows = (await conn.execute(select(audit_logs).order_by(audit_logs.c.seq))).all()
    assert [(row.resource, row.action, row.outcome, row.resource_id) for row in rows] == [
        ("dlq", "retry", "ok", first),
        ("dlq", "retry", "refused", first),
        ("dlq", "discard", "ok", second),
        ("dlq", "retry", "ok", None),
    ]
    assert rows[0].after == {"status": "retried"}
    assert rows[3].detail["retried"] == 0
