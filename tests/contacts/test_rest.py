"""The contract's routes that change contacts: what each takes, answers and refuses."""

from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import select

from hogsend.contacts.imports import run_import
from hogsend.runtime import Runtime
from hogsend.tables.access import audit_logs
from hogsend.tables.engine import jobs

BASE = "/v1/admin/contacts"
ADA = {"externalId": "ada", "email": " Ada@Example.com ", "properties": {"plan": "pro"}}


async def call(client: httpx.AsyncClient, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    answer = await client.request(method, f"{BASE}{path}", json=body)
    return answer.status_code, answer.json()


async def test_creates_changes_and_deletes(client: httpx.AsyncClient, runtime: Runtime) -> None:
    status, body = await call(client, "POST", "", ADA)
    assert status == 201
    contact = body["contact"]
    assert contact == {
        "id": contact["id"],
        "externalId": "ada",
        "email": "ada@example.com",
        "properties": {"plan": "pro"},
        "firstSeenAt": "2026-01-15T10:30:00.000Z",
        "lastSeenAt": "2026-01-15T10:30:00.000Z",
        "createdAt": "2026-01-15T10:30:00.000Z",
        "updatedAt": "2026-01-15T10:30:00.000Z",
    }
    assert await call(client, "POST", "", ADA) == (
        409,
        {"error": "Contact with this externalId already exists"},
    )
    status, body = await call(client, "PATCH", "/ada", {"properties": {"plan": None, "seats": 3}})
    assert (status, body["contact"]["properties"]) == (200, {"seats": 3})
    assert body["contact"]["email"] == "ada@example.com"
    status, body = await call(client, "PATCH", f"/{contact['id']}", {"email": "New@example.com"})
    assert (status, body["contact"]["email"]) == (200, "new@example.com")
    await call(client, "POST", "", {"externalId": "bob", "email": "bob@example.com"})
    status, body = await call(client, "PATCH", "/ada", {"email": "bob@example.com"})
    assert (status, body["error"]) == (409, "Contact with this email already exists")
    assert await call(client, "DELETE", "/ada") == (200, {"deleted": True})
    for method, path, given in (
        ("DELETE", "/ada", None),
        ("PATCH", "/ada", {}),
        ("GET", "/ada", None),
        ("PUT", "/ada/preferences", {}),
        ("PATCH", f"/{uuid4()}", {}),
    ):
        assert await call(client, method, path, given) == (404, {"error": "Contact not found"})
    async with runtime.database.read() as conn:
        entries = (await conn.execute(select(audit_logs).order_by(audit_logs.c.seq))).all()
    assert [(entry.action, entry.outcome) for entry in entries] == [
        ("create", "ok"),
        ("create", "refused"),
        ("update", "ok"),
        ("update", "ok"),
        ("create", "ok"),
        ("update", "refused"),
        ("delete", "ok"),
        ("delete", "refused"),
        ("update", "refused"),
        ("update", "refused"),
        ("update", "refused"),
    ]


async def test_preferences(client: httpx.AsyncClient) -> None:
    await call(client, "POST", "", ADA)
    assert (await call(client, "GET", "/ada/preferences"))[0] == 404
    status, body = await call(client, "PUT", "/ada/preferences", {"categories": {"news": False}})
    assert status == 200
    preferences = body["preferences"]
    assert preferences == {
        "id": preferences["id"],
        "userId": "ada",
        "email": "ada@example.com",
        "unsubscribedAll": False,
        "suppressed": False,
        "bounceCount": 0,
        "categories": {"news": False},
        "suppressedAt": None,
        "lastBounceAt": None,
    }
    status, body = await call(
        client, "PUT", "/ada/preferences", {"categories": {"tips": True}, "unsubscribedAll": True}
    )
    assert body["preferences"]["categories"] == {"news": False, "tips": True}
    assert await call(client, "GET", "/ada/preferences") == (200, body)
    assert (await call(client, "GET", "/ada"))[1]["preferences"] == body["preferences"]
    await call(client, "POST", "", {"externalId": "bare"})
    status, body = await call(client, "PUT", "/bare/preferences", {"suppressed": True})
    assert (status, body["error"]) == (400, "Contact has no email address")


async def test_imports(client: httpx.AsyncClient, runtime: Runtime) -> None:
    status, body = await call(
        client,
        "POST",
        "/import",
        {"format": "csv", "data": "externalId,plan\nada,pro\n,x\n", "fileName": "p"},
    )
    assert (status, body["status"]) == (202, "pending")
    job_id = body["jobId"]
    assert await call(client, "GET", f"/import/{job_id}") == (
        200,
        {
            "id": job_id,
            "status": "pending",
            "totalRows": 2,
            "processedRows": 0,
            "failedRows": 0,
            "errors": [],
        },
    )
    async with runtime.database.read() as conn:
        payload = (await conn.execute(select(jobs.c.payload))).scalar_one()
    await run_import(runtime, payload)
    assert (await call(client, "GET", f"/import/{job_id}"))[1] == {
        "id": job_id,
        "status": "completed",
        "totalRows": 2,
        "processedRows": 2,
        "failedRows": 1,
        "errors": [{"row": 2, "error": "Missing externalId"}],
    }
    assert (await call(client, "GET", "/ada"))[1]["contact"]["properties"] == {"plan": "pro"}
    for unknown in (str(uuid4()), "nonsense"):
        assert await call(client, "GET", f"/import/{unknown}") == (404, {"error": "Import job not found"})


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "", {}, "externalId"),
        ("POST", "", {"externalId": ""}, "externalId"),
        ("POST", "", {"externalId": 7}, "externalId"),
        ("POST", "", {"externalId": "a", "email": "nope"}, "email"),
        ("POST", "", {"externalId": "a", "properties": []}, "properties"),
        ("PATCH", "/ada", {"email": "nope"}, "email"),
        ("PATCH", "/ada", {"properties": "x"}, "properties"),
        ("PUT", "/ada/preferences", {"unsubscribedAll": "yes"}, "unsubscribedAll"),
        ("PUT", "/ada/preferences", {"categories": {"news": 1}}, "categories.news"),
        ("POST", "/import", {"format": "xml", "data": ""}, "format"),
        ("POST", "/import", {"format": "csv"}, "data"),
        ("POST", "/import", {"format": "csv", "data": "email\n"}, "data"),
        ("POST", "/import", {"format": "json", "data": "{}"}, "data"),
    ],
)
async def test_names_the_field_that_is_wrong(
    client: httpx.AsyncClient, method: str, path: str, body: Any, field: str
) -> None:
    await call(client, "POST", "", ADA)
    status, answer = await call(client, method, path, body)
    assert status == 400
    assert answer["details"][0]["path"] == field
    assert field.split(".")[0] in answer["error"]
