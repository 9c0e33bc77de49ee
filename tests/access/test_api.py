"""Keys and the audit log, through REST and through GraphQL."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import httpx
import pytest
from graphql import get_named_type, is_composite_type
from sqlalchemy import select

from hogsend.access.caller import Scope
from hogsend.access.keys import KeyRing, hash_key
from hogsend.app import create_app
from hogsend.boot import open_runtime
from hogsend.clock import ManualClock
from hogsend.graphql.fields import ANY_KEY, SCOPE
from hogsend.graphql.mutations import AUDIT_ACTION
from hogsend.runtime import Runtime
from hogsend.schema.root import graphql_schema
from hogsend.settings import Settings
from hogsend.tables.access import api_keys, audit_logs
from tests.access.keys import make_key

ADMIN = "/v1/admin"
SCHEMA = graphql_schema()


async def ask(client: httpx.AsyncClient, query: str, key: str | None = None, **variables: Any) -> Any:
    headers = {"Authorization": key} if key else {}
    return (
        await client.post("/graphql", json={"query": query, "variables": variables}, headers=headers)
    ).json()


async def test_a_key_is_made_used_listed_and_revoked(
    client: httpx.AsyncClient, runtime: Runtime, clock: ManualClock
) -> None:
    made = await client.post(
        f"{ADMIN}/api-keys",
        json={"name": "dashboard", "scopes": ["read", "ingest"], "expiresAt": "2026-02-01T02:00:00+02:00"},
    )
    assert made.status_code == 201
    key = made.json()
    assert re.fullmatch(r"hsk_[A-Za-z0-9_-]{32,}", key["key"])
    assert key["keyPrefix"] == key["key"][:8]
    assert (key["scopes"], key["expiresAt"]) == (["read", "ingest"], "2026-02-01T00:00:00.000Z")
    async with runtime.database.read() as conn:
        row = (await conn.execute(select(api_keys))).one()
    assert row.key_hash == hash_key(key["key"])
    assert key["key"] not in str(row)

    bearer = {"Authorization": f"Bearer {key['key']}"}
    myself = await client.get(f"{ADMIN}/api-keys/self", headers=bearer)
    assert myself.json() == {"id": key["id"], "name": "dashboard", "scopes": ["read", "ingest"]}
    await runtime.part(KeyRing).write_uses()
    (listed,) = (await client.get(f"{ADMIN}/api-keys")).json()["keys"]
    assert listed["lastUsedAt"] == "2026-01-15T10:30:00.000Z"
    assert "key" not in listed

    clock.advance(timedelta(minutes=1))
    revoked = await client.delete(f"{ADMIN}/api-keys/{key['id']}")
    assert (revoked.status_code, revoked.json()) == (200, {"revoked": True})
    refused = await client.get(f"{ADMIN}/api-keys/self", headers=bearer)
    assert (refused.status_code, refused.json()) == (401, {"error": "Unauthorized"})
    clock.advance(timedelta(minutes=1))
    assert (await client.delete(f"{ADMIN}/api-keys/{key['id']}")).json() == {"revoked": True}
    assert (await client.get(f"{ADMIN}/api-keys")).json()["keys"] == []
    (listed,) = (await client.get(f"{ADMIN}/api-keys?includeRevoked=true")).json()["keys"]
    assert listed["revokedAt"] == "2026-01-15T10:31:00.000Z"


async def test_the_admin_key_has_no_id(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{ADMIN}/api-keys/self")
    assert answer.json() == {"id": None, "name": "legacy", "scopes": ["full-admin"]}


async def test_an_expired_key_says_so(
    client: httpx.AsyncClient, runtime: Runtime, clock: ManualClock
) -> None:
    _, header = await make_key(runtime, expires_at=clock.wall() + timedelta(hours=1))
    clock.advance(timedelta(hours=1))
    answer = await client.get(f"{ADMIN}/contacts", headers={"Authorization": header})
    assert (answer.status_code, answer.json()) == (401, {"error": "API key expired"})


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"scopes": ["read"]}, "name"),
        ({"name": " ", "scopes": ["read"]}, "name"),
        ({"name": "x" * 201, "scopes": ["read"]}, "name"),
        ({"name": "x"}, "scopes"),
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": "read"}, "scopes"),
        ({"name": "x", "scopes": ["read", "root"]}, "scopes.1"),
        ({"name": "x", "scopes": ["read"], "expiresAt": "2026-01-15T10:30:00Z"}, "expiresAt"),
        ({"name": "x", "scopes": ["read"], "expiresAt": "soon"}, "expiresAt"),
    ],
)
async def test_a_wrong_key_is_not_made(
    client: httpx.AsyncClient, runtime: Runtime, body: dict[str, Any], path: str
) -> None:
    answer = await client.post(f"{ADMIN}/api-keys", json=body)
    assert answer.status_code == 400
    assert answer.json()["details"][0]["path"] == path
    async with runtime.database.read() as conn:
        assert (await conn.execute(select(api_keys))).all() == []


async def test_the_audit_log_tells_who_did_what(client: httpx.AsyncClient, clock: ManualClock) -> None:
    made = (await client.post(f"{ADMIN}/api-keys", json={"name": "ops", "scopes": ["full-admin"]})).json()
    ops = {"Authorization": f"Bearer {made['key']}"}
    clock.advance(timedelta(minutes=1))
    other = (
        await client.post(f"{ADMIN}/api-keys", json={"name": "x", "scopes": ["read"]}, headers=ops)
    ).json()
    clock.advance(timedelta(minutes=1))
    await client.delete(f"{ADMIN}/api-keys/{other['id']}", headers=ops)

    async def found(**params: str) -> list[tuple[str, str | None]]:
        answer = await client.get(f"{ADMIN}/audit-logs", params=params)
        assert answer.status_code == 200
        return [(entry["action"], entry["resourceId"]) for entry in answer.json()["logs"]]

    revoked, second, first = ("revoke", other["id"]), ("create", other["id"]), ("create", made["id"])
    assert await found() == [revoked, second, first]
    assert await found(actor="ops") == [revoked, second]
    assert await found(actor="legacy") == [first]
    assert await found(action="create") == [second, first]
    assert await found(resource="api-key", action="revoke") == [revoked]
    assert await found(resource="contact") == []
    assert await found(to="2026-01-15T10:30:30Z") == [first]
    assert await found(**{"from": "2026-01-15T12:31:30+02:00"}) == [revoked]
    assert (await client.get(f"{ADMIN}/audit-logs?action=think")).status_code == 400


async def test_graphql_makes_and_revokes_keys_and_shows_both_sides_of_a_change(
    client: httpx.AsyncClient,
) -> None:
    made = await ask(
        client,
        """mutation { apiKeyCreate(input: {name: "dash", scopes: [READ]}) {
             apiKey { id scopes } secret userErrors { code } } }""",
    )
    payload = made["data"]["apiKeyCreate"]
    assert payload["userErrors"] == []
    assert payload["apiKey"]["scopes"] == ["READ"]
    await ask(
        client,
        "mutation ($id: ID!) { apiKeyRevoke(input: {id: $id}) { apiKey { revokedAt } } }",
        id=payload["apiKey"]["id"],
    )
    log = await ask(
        client,
        """{ auditLog { nodes { action actor key { id } subject { id ... on ApiKey { name } } before after
             detail } } apiKeys(includeRevoked: true) { totalCount } }""",
    )
    revoked, created = log["data"]["auditLog"]["nodes"]
    assert created["before"] is None
    assert created["after"]["revokedAt"] is None
    assert (revoked["before"]["revokedAt"], revoked["after"]["revokedAt"]) != (None, None)
    assert revoked["subject"] == {"id": payload["apiKey"]["id"], "name": "dash"}
    assert revoked["detail"] == {"operation": "apiKeyRevoke"}
    assert payload["secret"] not in str(log)


async def test_what_is_wrong_is_a_user_error_with_its_code(client: httpx.AsyncClient) -> None:
    past = await ask(
        client,
        """mutation { apiKeyCreate(input: {name: "x", scopes: [READ], expiresAt: "2020-01-01T00:00:00Z"}) {
             apiKey { id } secret userErrors { field code } } }""",
    )
    assert past["data"]["apiKeyCreate"] == {
        "apiKey": None,
        "secret": None,
        "userErrors": [{"field": ["expiresAt"], "code": "EXPIRY_IN_PAST"}],
    }
    for key_id in ("nothing", "apikey_550e8400-e29b-41d4-a716-446655440000"):
        gone = await ask(
            client,
            "mutation ($id: ID!) { apiKeyRevoke(input: {id: $id}) { apiKey { id } userErrors { code } } }",
            id=key_id,
        )
        assert gone["data"]["apiKeyRevoke"] == {"apiKey": None, "userErrors": [{"code": "NOT_FOUND"}]}


def test_every_mutation_says_what_the_audit_log_calls_it() -> None:
    assert SCHEMA.mutation_type is not None
    undeclared = [
        name
        for name, field in SCHEMA.mutation_type.fields.items()
        if AUDIT_ACTION not in field.extensions["strawberry-definition"].metadata
    ]
    assert undeclared == []


OPENS = {
    Scope.READ: {Scope.READ},
    Scope.JOURNEY_ADMIN: {Scope.READ, Scope.JOURNEY_ADMIN},
    Scope.FULL_ADMIN: set(Scope),
    Scope.INGEST: {Scope.INGEST},
}


@pytest.mark.parametrize("held", list(Scope))
async def test_every_root_field_opens_to_its_scope_and_no_other(
    client: httpx.AsyncClient, runtime: Runtime, held: Scope
) -> None:
    """The scope is looked at before anything runs, so a field whose arguments are missing shows which comes first."""
    _, key = await make_key(runtime, held)
    for kind, root in (("query", SCHEMA.query_type), ("mutation", SCHEMA.mutation_type)):
        assert root is not None
        for name, field in root.fields.items():
            declared = field.extensions["strawberry-definition"].metadata[SCOPE]
            arguments = ", ".join(f"${a}: {b.type}" for a, b in field.args.items())
            given = ", ".join(f"{a}: ${a}" for a in field.args)
            query = (
                f"{kind} {f'({arguments})' if arguments else ''} {{ {name}{f'({given})' if given else ''} "
            )
            query += "{ __typename } }" if is_composite_type(get_named_type(field.type)) else "}"
            answer = await ask(client, query, key)
            codes = [error["extensions"]["code"] for error in answer.get("errors", ())]
            allowed = declared == ANY_KEY or Scope(declared) in OPENS[held]
            assert ("FORBIDDEN" in codes) is not allowed, f"{name} with {held}: {answer}"


async def test_a_mutation_that_a_scope_or_a_variable_refuses_leaves_its_row(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    _, key = await make_key(runtime, Scope.READ, name="reader")
    document = "mutation ($input: ApiKeyRevokeInput!) { apiKeyRevoke(input: $input) { userErrors { code } } }"
    await ask(client, document, key, input={"id": "x"})
    await ask(client, document)
    await ask(client, document, input={"id": "550e8400-e29b-41d4-a716-446655440000"})
    async with runtime.database.read() as conn:
        rows = (await conn.execute(select(audit_logs).order_by(audit_logs.c.seq))).all()
    assert [(row.actor, row.action, row.resource, row.outcome, row.resource_id) for row in rows] == [
        ("reader", "revoke", "api-key", "refused", None),
        ("legacy", "revoke", "api-key", "refused", None),
        ("legacy", "revoke", "api-key", "refused", "550e8400-e29b-41d4-a716-446655440000"),
    ]
    assert rows[0].detail["errors"] == [{"code": "FORBIDDEN", "message": "Insufficient scope"}]
    unfit = {"code": "BAD_REQUEST", "field": ["input"], "message": "The value does not fit its type"}
    assert rows[1].detail["errors"] == [unfit]


SECRET = "hooks-s3cret"
MISSPELT: dict[str, Any] = {
    "name": "Bounces",
    "type": "BOUNCE_RATE_EXCEEDED",
    "treshold": 0.05,
    "channel": "WEBHOOK",
    "channelConfig": {"url": f"https://1.1.1.1/{SECRET}"},
}


def literal(value: Any) -> str:
    """A value as a GraphQL document writes it; words of enums are upper-case."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {literal(one)}' for name, one in value.items())}}}"
    return value if isinstance(value, str) and value.isupper() else json.dumps(value)


@pytest.mark.parametrize("way", ["variables", "inline", "a secret for a number", "REST"])
@pytest.mark.parametrize("name", ["Create", "Update"])
async def test_what_does_not_fit_is_not_quoted_in_the_audit_log(
    client: httpx.AsyncClient, runtime: Runtime, caplog: pytest.LogCaptureFixture, way: str, name: str
) -> None:
    rule = "550e8400-e29b-41d4-a716-446655440000"
    given: dict[str, Any] = MISSPELT | ({"id": rule} if name == "Update" else {})
    if way == "a secret for a number":
        given = {**given, "threshold": SECRET}
    if way == "REST":
        given = {key: value for key, value in given.items() if key != "id"}
        given |= {"type": "bounce_rate_exceeded", "channel": "webhook"}
        path = f"{ADMIN}/alerts/rules" + (f"/{rule}" if name == "Update" else "")
        answer = await client.request("PATCH" if name == "Update" else "POST", path, json=given)
        assert answer.status_code == 400
        assert "threshold" in answer.json()["error"]
    else:
        argument = literal(given) if way == "inline" else "$input"
        declared = "" if way == "inline" else f"($input: AlertRule{name}Input!)"
        answer = await ask(
            client,
            f"mutation {declared} {{ alertRule{name}(input: {argument}) {{ userErrors {{ message }} }} }}",
            input=given,
        )
        assert answer["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
    async with runtime.database.read() as conn:
        rows = (await conn.execute(select(audit_logs))).all()
    assert [row.outcome for row in rows] == ([] if way == "inline" else ["refused"])
    assert SECRET not in str(rows)
    assert SECRET not in caplog.text


async def test_what_breaks_leaves_a_row_too_and_no_effect(
    client: httpx.AsyncClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> str:
        raise RuntimeError("s3cret")

    monkeypatch.setattr("hogsend.access.actions.new_key", broken)
    answer = await client.post(f"{ADMIN}/api-keys", json={"name": "x", "scopes": ["read"]})
    assert answer.status_code == 500
    assert answer.json() == {"error": "Internal server error", "requestId": answer.headers["x-request-id"]}
    async with runtime.database.read() as conn:
        assert (await conn.execute(select(api_keys))).all() == []
        (row,) = (await conn.execute(select(audit_logs))).all()
    assert (row.outcome, row.action, row.request_id) == ("failed", "create", answer.headers["x-request-id"])
    assert "s3cret" not in str(row)


async def test_without_any_key_nothing_opens_until_one_is_made(
    settings: Settings, clean: None, clock: ManualClock
) -> None:
    keyless = settings.model_copy(update={"admin_api_key": None})
    async with (
        open_runtime(keyless, clock=clock) as runtime,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(create_app(keyless, runtime)), base_url="http://hogsend.test"
        ) as client,
    ):
        for path in (f"{ADMIN}/contacts", "/v1/contacts/find?userId=u1"):
            answer = await client.get(path, headers={"Authorization": "Bearer anything"})
            assert (answer.status_code, answer.json()) == (503, {"error": "Admin API is not configured"})
        assert (await client.get("/v1/health")).status_code == 200
        _, header = await make_key(runtime)
        answer = await client.get(f"{ADMIN}/contacts", headers={"Authorization": header})
        assert answer.status_code == 200
