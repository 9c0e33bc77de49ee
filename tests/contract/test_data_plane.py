"""/v1/events, /v1/contacts, /v1/emails: what they take, answer and refuse."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import func, select

from hogsend.access.caller import Scope
from hogsend.consent.suppression import suppress
from hogsend.runtime import Runtime
from hogsend.tables.emails import email_sends
from hogsend.tables.events import user_events
from tests.access.keys import make_key
from tests.contract.oracle import CONTACT_FIELDS

EVENTS = "/v1/events"


async def count(runtime: Runtime, table: Any) -> int:
    async with runtime.database.read() as conn:
        return int((await conn.execute(select(func.count()).select_from(table))).scalar_one())


async def test_an_event_is_taken_in(client: httpx.AsyncClient, runtime: Runtime) -> None:
    answer = await client.post(
        EVENTS,
        json={
            "name": "user.signed_up",
            "userId": "u1",
            "email": " Ada@Example.com ",
            "eventProperties": {"plan": "pro"},
            "contactProperties": {"name": "Ada"},
            "timestamp": "2026-01-15T12:30:00+02:00",
        },
    )
    assert (answer.status_code, answer.json()) == (202, {"stored": True, "exits": []})
    assert answer.headers["x-ratelimit-limit"] == "60000"
    assert answer.headers["x-ratelimit-remaining"] == "59999"
    assert answer.headers["x-request-id"]
    async with runtime.database.read() as conn:
        event = (await conn.execute(select(user_events))).one()
    assert (event.name, event.properties) == ("user.signed_up", {"plan": "pro"})
    assert event.occurred_at.isoformat() == "2026-01-15T10:30:00+00:00"
    found = (await client.get("/v1/contacts/find", params={"email": "ada@example.com"})).json()["contacts"]
    assert [(one["externalId"], one["email"], one["properties"]) for one in found] == [
        ("u1", "ada@example.com", {"name": "Ada"})
    ]


async def test_an_idempotency_key_is_one_event_and_the_header_outranks_the_body(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    body = {"name": "a", "userId": "u1", "idempotencyKey": "k1"}
    first = await client.post(EVENTS, json=body)
    again = await client.post(EVENTS, json=body)
    other = await client.post(EVENTS, json=body, headers={"Idempotency-Key": "k2"})
    assert [a.json()["stored"] for a in (first, again, other)] == [True, False, True]
    assert await count(runtime, user_events) == 2


async def test_many_at_once_with_few_keys_are_few_events(client: httpx.AsyncClient, runtime: Runtime) -> None:
    bodies = [{"name": "a", "userId": f"u{n % 3}", "idempotencyKey": f"k{n % 10}"} for n in range(100)]
    answers = await asyncio.gather(*(client.post(EVENTS, json=body) for body in bodies))
    assert {answer.status_code for answer in answers} == {202}
    assert sum(answer.json()["stored"] for answer in answers) == 10
    assert await count(runtime, user_events) == 10


@pytest.mark.parametrize(
    ("body", "path", "says"),
    [
        ({"userId": "u1"}, "name", "name is required"),
        ({"name": "", "userId": "u1"}, "name", "name"),
        ({"name": 3, "userId": "u1"}, "name", "name must be a string"),
        ({"name": "a"}, "email", "email or userId is required"),
        ({"name": "a", "email": "nobody"}, "email", "email must be an email address"),
        ({"name": "a", "userId": "u1", "eventProperties": []}, "eventProperties", "must be an object"),
        ({"name": "a", "userId": "u1", "timestamp": "yesterday"}, "timestamp", "ISO 8601"),
        ({"name": "a", "userId": "u1", "timestamp": "2026-01-15T10:30:00"}, "timestamp", "ISO 8601"),
        ({"name": "a", "userId": "u\x00"}, "userId", "NUL"),
        ({"name": "a", "userId": "u1", "eventProperties": {"a": ["\x00"]}}, "eventProperties.a.0", "NUL"),
        ({"name": "a", "userId": "u1", "eventProperties": {"\x00": 1}}, "eventProperties", "NUL"),
        ({"name": "a", "userId": "u1", "eventProperties": {"a": "x" * 600_000}}, "eventProperties", "KiB"),
        ({"name": "n" * 201, "userId": "u1"}, "name", "200 characters"),
    ],
)
async def test_what_is_wrong_with_an_event_is_said(
    client: httpx.AsyncClient, runtime: Runtime, body: dict[str, Any], path: str, says: str
) -> None:
    answer = await client.post(EVENTS, json=body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]
    assert answer.json()["details"][0]["path"] == path
    assert await count(runtime, user_events) == 0


async def test_every_wrong_field_is_named(client: httpx.AsyncClient) -> None:
    answer = await client.post(EVENTS, json={"userId": 3, "eventProperties": "x"})
    assert answer.status_code == 400
    assert [detail["path"] for detail in answer.json()["details"]] == ["name", "userId", "eventProperties"]


@pytest.mark.parametrize(
    ("raw", "status", "says"),
    [
        (b"{", 400, "valid JSON"),
        (b"\xff", 400, "valid JSON"),
        (b"[]", 400, "JSON object"),
        (b'"text"', 400, "JSON object"),
        (b'{"name": "a", "userId": "\\ud800"}', 400, "valid JSON"),
        (b'{"name": "a", "userId": "u", "eventProperties": {"a": NaN}}', 400, "valid JSON"),
        (b'{"name": "a", "userId": "u", "eventProperties": {"a": 1e999}}', 400, "valid JSON"),
        (b'{"name":"a","userId":"u","eventProperties":' + b'{"a":' * 999 + b"1" + b"}" * 1000, 400, "nested"),
        (b'{"name":"a","userId":"u","eventProperties":' + b"[" * 100_000, 400, "at most 50,000 values"),
        (b" " * 3_000_000, 413, "Request body too large"),
    ],
    ids=["cut", "bytes", "array", "string", "surrogate", "nan", "infinite", "deep", "deeper", "large"],
)
async def test_a_body_that_cannot_be_stored_is_refused_in_words(
    client: httpx.AsyncClient, raw: bytes, status: int, says: str
) -> None:
    answer = await client.post(EVENTS, content=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert says in answer.json()["error"]


@pytest.mark.parametrize("number", ["123456789012345678901234567890", "-9223372036854775809", "1e300", "0.1"])
async def test_numbers_of_any_size_are_answered(client: httpx.AsyncClient, number: str) -> None:
    raw = f'{{"name": "a", "userId": "u", "eventProperties": {{"n": {number}}}}}'
    answer = await client.post(EVENTS, content=raw)
    assert answer.status_code in (202, 400)


@pytest.mark.parametrize(
    "timestamp", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-12-31T23:59:60Z"]
)
async def test_odd_instants_are_answered(client: httpx.AsyncClient, timestamp: str) -> None:
    answer = await client.post(EVENTS, json={"name": "a", "userId": "u", "timestamp": timestamp})
    assert answer.status_code in (202, 400)
    assert "error" in answer.json() or answer.json()["stored"]


@pytest.mark.parametrize(
    "method_path",
    [
        "POST /v1/events",
        "PUT /v1/contacts",
        "GET /v1/contacts/find",
        "DELETE /v1/contacts",
        "POST /v1/emails",
    ],
)
@pytest.mark.parametrize(
    ("scope", "status"),
    [
        (None, 401),
        (Scope.READ, 403),
        (Scope.JOURNEY_ADMIN, 403),
        (Scope.INGEST, 400),
        (Scope.FULL_ADMIN, 400),
    ],
)
async def test_ingest_opens_the_data_plane_and_full_admin_implies_it(
    client: httpx.AsyncClient, runtime: Runtime, method_path: str, scope: Scope | None, status: int
) -> None:
    method, path = method_path.split()
    headers = {"Authorization": (await make_key(runtime, scope))[1] if scope else ""}
    answer = await client.request(method, path, headers=headers)
    assert answer.status_code == status
    assert answer.json()["error"] == {401: "Unauthorized", 403: "Insufficient scope"}.get(
        status, answer.json()["error"]
    )
    assert ("x-ratelimit-remaining" in answer.headers) == (status != 401)


async def test_a_wrong_method_says_which_are_right(client: httpx.AsyncClient) -> None:
    answer = await client.patch("/v1/contacts")
    assert answer.status_code == 405
    assert answer.json() == {"error": "Method Not Allowed"}
    assert "PUT" in answer.headers["allow"]


async def test_a_contact_is_made_found_linked_and_merged(client: httpx.AsyncClient) -> None:
    async def put(**body: Any) -> dict[str, Any]:
        answer = await client.put("/v1/contacts", json=body)
        assert answer.status_code == 200
        return dict(answer.json())

    made = await put(email="Ada@example.com", properties={"plan": "free"})
    linked = await put(email="ada@example.com", userId="u1", properties={"plan": "pro"})
    assert (made["created"], made["linked"]) == (True, False)
    assert (linked["id"], linked["created"], linked["linked"]) == (made["id"], False, True)
    await put(userId="u2")
    await put(email="ada2@example.com")
    merged = await put(userId="u2", email="ada2@example.com")
    assert merged["linked"]
    found = await client.get("/v1/contacts/find", params={"userId": "u1"})
    (contact,) = found.json()["contacts"]
    assert contact["properties"] == {"plan": "pro"}
    assert set(contact) == set(CONTACT_FIELDS)
    assert contact["createdAt"] == "2026-01-15T10:30:00.000Z"
    nobody = await client.get("/v1/contacts/find", params={"email": "no@example.com", "userId": "nobody"})
    assert nobody.json() == {"contacts": []}
    both = await client.get("/v1/contacts/find", params={"email": "ada2@example.com", "userId": "u1"})
    assert len(both.json()["contacts"]) == 2


async def test_a_contact_is_deleted_by_either_key(client: httpx.AsyncClient) -> None:
    await client.put("/v1/contacts", json={"userId": "u1", "email": "ada@example.com"})
    answer = await client.request("DELETE", "/v1/contacts", json={"email": "ADA@example.com"})
    assert (answer.status_code, answer.json()) == (200, {"deleted": True})
    again = await client.request("DELETE", "/v1/contacts", json={"userId": "u1"})
    assert (again.status_code, again.json()) == (404, {"error": "Contact not found"})
    assert (await client.request("DELETE", "/v1/contacts", json={})).status_code == 400
    assert (await client.get("/v1/contacts/find", params={"userId": "u1"})).json() == {"contacts": []}


@pytest.mark.parametrize("query", ["", "?email=", "?userId=%00", "?email=%ff%00"])
async def test_find_needs_a_key(client: httpx.AsyncClient, query: str) -> None:
    assert (await client.get(f"/v1/contacts/find{query}")).status_code == 400


async def send(client: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await client.post("/v1/emails", json={"template": "welcome", **body})


async def test_an_email_is_queued_once_for_each_key(client: httpx.AsyncClient, runtime: Runtime) -> None:
    first = await send(client, to="ada@example.com", idempotencyKey="k1")
    assert first.status_code == 202
    assert first.json()["status"] == "queued"
    again = await send(client, to="ada@example.com", idempotencyKey="k1")
    assert again.json() == first.json()
    other = await send(client, to="bob@example.com", idempotencyKey="k1")
    assert other.status_code == 400
    assert other.json()["details"][0]["path"] == "idempotencyKey"
    fresh = await send(client, to="ada@example.com")
    assert fresh.json()["emailSendId"] != first.json()["emailSendId"]
    assert await count(runtime, email_sends) == 2


async def test_the_same_key_at_once_is_one_email(client: httpx.AsyncClient, runtime: Runtime) -> None:
    answers = await asyncio.gather(
        *(send(client, to="ada@example.com", idempotencyKey="k1") for _ in range(10))
    )
    assert len({orjson.dumps(answer.json(), option=orjson.OPT_SORT_KEYS) for answer in answers}) == 1
    assert await count(runtime, email_sends) == 1


async def test_an_address_that_must_not_be_written_to_is_answered_with_its_reason(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    async with runtime.database.transaction() as conn:
        await suppress(conn, runtime.clock, "ada@example.com", "bounce")
    answer = await send(client, to="Ada@example.com")
    assert answer.status_code == 202
    assert answer.json()["status"] == "suppressed"
    assert answer.json()["reason"] == "address_bounced"


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"template": "nothing-like-it", "to": "a@example.com"}, 400, "nothing-like-it not found"),
        ({"to": "nobody"}, 400, "to must be an email address"),
        ({}, 400, "to or userId is required"),
        ({"userId": "nobody"}, 404, "Contact not found"),
        ({"userId": "no-address"}, 404, "Email address not found"),
        ({"to": "a@example.com", "subject": "a\nBcc: b@example.com"}, 400, "subject must be one line"),
        ({"to": "a@example.com", "props": "x"}, 400, "props must be an object"),
    ],
)
async def test_an_email_that_cannot_be_sent_is_refused_in_words(
    client: httpx.AsyncClient, body: dict[str, Any], status: int, says: str
) -> None:
    await client.put("/v1/contacts", json={"userId": "no-address"})
    answer = await send(client, **body)
    assert answer.status_code == status
    assert says in answer.json()["error"]
