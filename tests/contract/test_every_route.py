"""What holds for every route of the contract: scopes, refusals, paging, and the audit row of each mutation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import delete, select

from hogsend.access.caller import Scope
from hogsend.rest.reference import markdown
from hogsend.runtime import Runtime
from hogsend.tables.access import audit_logs
from tests.access.keys import make_key
from tests.contract.conforming import spec
from tests.contract.oracle import ADMIN, PROMISES, Promise
from tests.driving import drive

OPENS = {
    Scope.READ: {Scope.READ},
    Scope.JOURNEY_ADMIN: {Scope.READ, Scope.JOURNEY_ADMIN},
    Scope.FULL_ADMIN: set(Scope),
    Scope.INGEST: {Scope.INGEST},
}
LISTS = tuple(promise for promise in PROMISES if promise.plural)
NOBODY = "550e8400-e29b-41d4-a716-446655440000"
# What stands for `{id}` where the thing has to be there.
KNOWN = {f"{ADMIN}/contacts/{{id}}/timeline": "u0", f"{ADMIN}/journeys/{{id}}/states": "activation-welcome"}


def filled(promise: Promise, value: str) -> str:
    """The path with `value` for every name in it; a journey's state is asked of a journey that is there."""
    path = promise.path
    if "{stateId}" in path:
        path = path.replace("{id}", "activation-welcome")
    for name in ("id", "stateId", "jobId"):
        path = path.replace(f"{{{name}}}", value)
    return path


def test_the_document_has_the_routes_of_the_contract_and_their_scopes() -> None:
    described = {
        f"{method.upper()} {path}": operation["description"]
        for path, operations in spec()["paths"].items()
        for method, operation in operations.items()
    }
    promised = {
        promise.name: f"Scope: {f'`{promise.scope.value}`' if promise.scope else 'any'}."
        for promise in PROMISES
    }
    assert described == promised | {"GET /v1/health": "No key is needed."}


def test_the_page_of_routes_is_what_the_tables_say() -> None:
    page = Path(__file__).parents[2] / "docs" / "rest.md"
    assert page.read_text() == markdown(), "run `python -m hogsend.rest.reference > docs/rest.md`"


def test_everything_that_the_document_refers_to_is_in_it() -> None:
    def references(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            yield from (value for key, value in part.items() if key == "$ref")
            part = list(part.values())
        if isinstance(part, list):
            for item in part:
                yield from references(item)

    schemas = {f"#/components/schemas/{name}" for name in spec()["components"]["schemas"]}
    headers = {f"#/components/headers/{name}" for name in spec()["components"]["headers"]}
    assert set(references(spec())) <= schemas | headers


@pytest.mark.parametrize("held", [None, *Scope])
async def test_each_scope_opens_its_routes_and_no_others(
    client: httpx.AsyncClient, runtime: Runtime, held: Scope | None
) -> None:
    key = (await make_key(runtime, held))[1] if held else ""
    for promise in PROMISES:
        answer = await client.request(
            promise.method, filled(promise, str(uuid4())), headers={"Authorization": key}
        )
        if held is None:
            assert (answer.status_code, answer.json()) == (401, {"error": "Unauthorized"}), promise.name
            assert "x-ratelimit-limit" not in answer.headers
            continue
        assert answer.headers["x-ratelimit-limit"], promise.name
        if promise.scope is None or promise.scope in OPENS[held]:
            assert answer.status_code not in (401, 403), f"{promise.name}: {answer.text}"
            assert answer.status_code < 500, promise.name
        else:
            assert (answer.status_code, answer.json()) == (403, {"error": "Insufficient scope"}), promise.name


@pytest.mark.parametrize("value", [NOBODY, "nothing", "%00", "0" * 600, f"contact_{NOBODY}"])
async def test_what_is_not_there_is_named(client: httpx.AsyncClient, value: str) -> None:
    for promise in PROMISES:
        if promise.missing is None or promise.method in ("PUT", "PATCH", "POST"):
            continue
        answer = await client.request(promise.method, filled(promise, value))
        assert (answer.status_code, answer.json()) == (404, {"error": promise.missing}), promise.name


async def test_other_methods_are_refused_with_those_that_are_right(client: httpx.AsyncClient) -> None:
    for path in {promise.path for promise in PROMISES}:
        allowed = {promise.method for promise in PROMISES if promise.path == path}
        wrong = next(method for method in ("PUT", "PATCH", "DELETE", "POST") if method not in allowed)
        answer = await client.request(wrong, path.replace("{", "").replace("}", ""))
        assert (answer.status_code, answer.json()) == (405, {"error": "Method Not Allowed"}), path
        assert allowed <= set(answer.headers["allow"].split(", ")), path


async def test_bodies_that_are_no_objects_are_refused(client: httpx.AsyncClient) -> None:
    for promise in PROMISES:
        operation = spec()["paths"][promise.path][promise.method.lower()]
        if "requestBody" not in operation:
            continue
        for raw in (b"{", b"[]", b"null", b'{"a": "\\u0000"}', b"\xff\xfe"):
            answer = await client.request(promise.method, filled(promise, "activation-welcome"), content=raw)
            assert answer.status_code == 400, f"{promise.name} {raw!r}"
            assert answer.json()["details"], promise.name


@pytest.mark.parametrize("scope", [Scope.INGEST, Scope.FULL_ADMIN])
async def test_every_mutation_leaves_one_audit_row_refused_or_not(
    client: httpx.AsyncClient, runtime: Runtime, scope: Scope
) -> None:
    key_id, header = await make_key(runtime, scope, name="auditor")
    for promise in PROMISES:
        if promise.audit_action is None:
            continue
        async with runtime.database.transaction() as conn:
            await conn.execute(delete(audit_logs))
        missing = str(uuid4())
        answer = await client.request(
            promise.method,
            filled(promise, missing),
            content=b"{",
            headers={"Authorization": header, "X-Request-Id": "request-of-a-test"},
        )
        assert answer.status_code >= 400, promise.name
        async with runtime.database.read() as conn:
            (row,) = (await conn.execute(select(audit_logs))).all()
        assert (row.action, row.resource) == promise.audit_action, promise.name
        assert (row.actor, row.actor_key_id, row.outcome) == ("auditor", key_id, "refused"), promise.name
        assert (row.request_id, row.ip_address) == ("request-of-a-test", "127.0.0.1")
        assert (row.resource_id == missing) == ("{" in promise.path), promise.name


@pytest.mark.parametrize(("named", "kept"), [("%00", "\ufffd"), ("x" * 2_000, "x" * 512)])
async def test_whatever_a_caller_names_is_kept_as_far_as_it_can_be(
    client: httpx.AsyncClient, runtime: Runtime, named: str, kept: str
) -> None:
    assert (await client.delete(f"{ADMIN}/api-keys/{named}")).status_code == 404
    async with runtime.database.read() as conn:
        assert (await conn.execute(select(audit_logs.c.resource_id))).scalars().all() == [kept]


async def test_the_data_plane_is_not_audited(client: httpx.AsyncClient, runtime: Runtime) -> None:
    await client.post("/v1/events", json={"name": "a", "userId": "u1"})
    await client.put("/v1/contacts", json={"userId": "u1", "email": "ada@example.com"})
    await client.post("/v1/emails", json={"userId": "u1", "template": "welcome"})
    await client.request("DELETE", "/v1/contacts", json={"userId": "u1"})
    async with runtime.database.read() as conn:
        assert (await conn.execute(select(audit_logs))).all() == []


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("limit=0", "limit must be an integer between 1 and 100"),
        ("limit=101", "limit must be an integer between 1 and 100"),
        ("limit=ten", "limit must be an integer between 1 and 100"),
        ("limit=1e1", "limit must be an integer between 1 and 100"),
        ("offset=-1", "offset must be an integer of at least 0"),
        ("offset=99999999999999999999", "offset must be an integer of at least 0"),
    ],
)
async def test_a_wrong_page_is_refused(client: httpx.AsyncClient, query: str, says: str) -> None:
    await client.put("/v1/contacts", json={"userId": "u0"})
    for promise in LISTS:
        answer = await client.get(f"{filled(promise, KNOWN.get(promise.path, ''))}?{query}")
        assert answer.status_code == 400, promise.name
        assert answer.json()["error"] == says, promise.name


@pytest.fixture
async def populated(client: httpx.AsyncClient, runtime: Runtime) -> None:
    """Five people, each enrolled and welcomed; some keys; and with them an audit log."""
    for number in range(5):
        person = {"userId": f"u{number}", "email": f"u{number}@example.com"}
        for name in ("user.signed_up", "project.created"):
            assert (await client.post("/v1/events", json={"name": name, **person})).status_code == 202
        made = await client.post(f"{ADMIN}/api-keys", json={"name": f"k{number}", "scopes": ["read"]})
        assert made.status_code == 201
    await drive(runtime)


async def test_pages_hold_the_whole_list_once_from_end_to_end(
    client: httpx.AsyncClient, populated: None
) -> None:
    for promise in LISTS:
        assert promise.plural is not None
        path = filled(promise, KNOWN.get(promise.path, ""))

        async def page(limit: int, offset: int, path: str = path) -> dict[str, Any]:
            answer = await client.get(path, params={"limit": limit, "offset": offset})
            assert answer.status_code == 200, answer.text
            assert (answer.json()["limit"], answer.json()["offset"]) == (limit, offset)
            return dict(answer.json())

        whole = await page(100, 0)
        total = whole["total"]
        assert total == len(whole[promise.plural]), promise.name
        parts = [row for start in range(0, total, 2) for row in (await page(2, start))[promise.plural]]
        assert parts == whole[promise.plural], promise.name
        for offset in (total, total + 1, 2**31 - 1):
            beyond = await page(1, offset)
            assert (beyond[promise.plural], beyond["total"]) == ([], total), promise.name
        default = (await client.get(path)).json()
        assert (default["limit"], default["offset"]) == (50, 0)


def test_the_lists_that_are_paged_have_something_in_them() -> None:
    """So that the test above cannot pass on empty lists alone; alerts and dead letters have their own tests."""
    assert {promise.plural for promise in LISTS} >= {
        "contacts",
        "timeline",
        "journeys",
        "states",
        "emails",
        "events",
        "keys",
        "logs",
    }


async def test_the_rate_limit_is_the_keys(client: httpx.AsyncClient, runtime: Runtime) -> None:
    runtime.settings.rate_limit = 3
    _, header = await make_key(runtime)
    answers = [await client.get(f"{ADMIN}/contacts", headers={"Authorization": header}) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert answers[3].json() == {"error": "Rate limit exceeded"}
    assert answers[3].headers["retry-after"] == "60"
    assert (await client.get(f"{ADMIN}/contacts")).status_code == 200


async def test_an_unknown_route_is_not_found(client: httpx.AsyncClient) -> None:
    for path in ("/v1/admin/nothing", "/v1/nothing", "/nothing"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()) == (404, {"error": "Not Found"}), path
        assert answer.headers["x-request-id"]
