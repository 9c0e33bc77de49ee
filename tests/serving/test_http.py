"""GraphQL over HTTP: media types, methods, statuses, errors."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from hogsend.graphql.errors import INTERNAL_MESSAGE
from hogsend.runtime import Runtime
from tests.fixtures.graphql import Ask

GRAPHQL = "application/graphql-response+json; charset=utf-8"
JSON = "application/json; charset=utf-8"
VIEWER = {"query": "{ viewer { name } }"}


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        (None, GRAPHQL),
        ("*/*", GRAPHQL),
        ("application/*", GRAPHQL),
        ("application/graphql-response+json", GRAPHQL),
        ("application/json", JSON),
        ("application/json;q=0.5, application/graphql-response+json;q=0.4", JSON),
        ("text/html, application/json;q=0.9", JSON),
    ],
)
async def test_the_client_chooses_the_media_type(
    client: httpx.AsyncClient, accept: str | None, answered: str
) -> None:
    headers = {"Accept": accept} if accept else {}
    if accept is None:
        del client.headers["accept"]
    response = await client.post("/graphql", json=VIEWER, headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (200, answered)
    assert response.json()["data"] == {"viewer": {"name": "legacy"}}


def nested(levels: int) -> list[Any]:
    return [nested(levels - 1)] if levels else []


REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("not JSON", {"content": b"NONSENSE"}, 400, "The body must be JSON in UTF-8"),
    ("surrogates", {"content": b'{"query": "\\ud800"}'}, 400, "The body must be JSON in UTF-8"),
    ("a batch", {"json": [VIEWER]}, 422, "Batching is off: send one request at a time"),
    (
        "a typo",
        {"json": {"qeury": "{ viewer { name } }"}},
        400,
        "A request has no `qeury`; it takes query, documentId, operationName, variables, extensions",
    ),
    (
        "another member",
        {"json": VIEWER | {"vars": {"a": 1}, "x": 1}},
        400,
        "A request has no `vars`, `x`; it takes query, documentId, operationName, variables, extensions",
    ),
    ("nothing", {"json": {}}, 422, "query is required"),
    ("a number", {"json": {"query": 7}}, 422, "`query` must be a string"),
    ("variables", {"json": VIEWER | {"variables": [7]}}, 422, "`variables` must be an object"),
    ("syntax", {"json": {"query": "{"}}, 400, "Syntax Error: Expected Name, found <EOF>."),
    (
        "validation",
        {"json": {"query": "{ viewer { nmae } }"}},
        422,
        "Cannot query field 'nmae' on type 'Viewer'. Did you mean 'name'?",
    ),
    (
        "operation",
        {"json": {"query": "query A { __typename } query B { __typename }"}},
        422,
        "The document has more than one operation: name one of its operations in operationName",
    ),
    (
        "NUL",
        {"json": VIEWER | {"variables": {"s": "a\x00"}}},
        422,
        "Text must not contain NUL characters",
    ),
    (
        "depth",
        {"json": VIEWER | {"variables": {"deep": nested(80)}}},
        422,
        "Variables must not be nested deeper than 64 levels",
    ),
]


# The request is well-formed, and its document is bad.
OF_THE_DOCUMENT = {"syntax", "validation", "operation"}


@pytest.mark.parametrize("accept", ["application/json", "application/graphql-response+json", "*/*"])
@pytest.mark.parametrize(("what", "request_", "status", "message"), REFUSED, ids=[row[0] for row in REFUSED])
async def test_what_is_no_request_is_refused_as_the_draft_says(
    client: httpx.AsyncClient,
    what: str,
    request_: dict[str, Any],
    status: int,
    message: str,
    accept: str,
) -> None:
    headers = {"Content-Type": "application/json", "Accept": accept}
    response = await client.post("/graphql", headers=headers, **request_)
    old = accept == "application/json"
    assert response.status_code == (200 if old and what in OF_THE_DOCUMENT else status)
    assert response.headers["content-type"] == ("application/json; charset=utf-8" if old else GRAPHQL)
    body = response.json()
    assert body["errors"][0]["message"] == message
    assert body["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
    assert "data" not in body


async def test_a_variable_that_does_not_fit_is_named(client: httpx.AsyncClient) -> None:
    query = "query ($by: ContactBy!) { contact(by: $by) { id } }"
    for by in ({}, {"id": "1", "email": "a@b.c"}, {"email": 7}, None):
        response = await client.post("/graphql", json={"query": query, "variables": {"by": by}})
        assert response.status_code == 422, by
        assert response.json()["errors"][0]["extensions"] == {"code": "BAD_REQUEST"}


async def test_media_types_and_methods_that_are_not_served(client: httpx.AsyncClient) -> None:
    typed = {"Content-Type": "text/plain"}
    assert (await client.post("/graphql", content=b"{}", headers=typed)).status_code == 415
    latin = {"Content-Type": "application/json; charset=latin-1"}
    assert (await client.post("/graphql", content=b"{}", headers=latin)).status_code == 415
    assert (await client.post("/graphql", json=VIEWER, headers={"Accept": "image/png"})).status_code == 406
    response = await client.put("/graphql", json=VIEWER)
    assert (response.status_code, response.headers["allow"]) == (405, "GET, POST")


async def test_get_reads_and_does_not_write(client: httpx.AsyncClient) -> None:
    read = await client.get(
        "/graphql",
        params={
            "query": "query Q($s: String) { contacts(filter: { search: $s }) { totalCount } }",
            "variables": '{"s": "x"}',
            "operationName": "Q",
        },
    )
    assert (read.status_code, read.json()["data"]) == (200, {"contacts": {"totalCount": 0}})
    written = await client.get(
        "/graphql",
        params={"query": 'mutation { eventIngest(input: {name: "x", userId: "ada"}) { stored } }'},
    )
    assert (written.status_code, written.headers["allow"]) == (405, "POST")
    assert (
        await client.get("/graphql", params={"query": "{ viewer { name } }", "variables": "{"})
    ).status_code == 400


async def test_a_key_is_needed_and_its_scope_counts(client: httpx.AsyncClient) -> None:
    response = await client.post("/graphql", json=VIEWER, headers={"Authorization": "Bearer wrong"})
    assert response.status_code == 401
    assert response.json() == {
        "errors": [{"message": "Unauthorized", "extensions": {"code": "UNAUTHENTICATED"}}]
    }


async def test_the_answer_says_what_it_cost(client: httpx.AsyncClient) -> None:
    response = await client.post("/graphql", json={"query": "{ contacts(first: 7) { nodes { id } } }"})
    cost = response.json()["extensions"]["cost"]
    assert set(cost) == {"requested", "actual", "remaining", "resetAt"}
    assert cost["requested"] >= 7 > cost["actual"]


async def test_what_breaks_is_masked_and_its_neighbours_still_answer(
    client: httpx.AsyncClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("postgresql://user:secret@host")

    monkeypatch.setattr(runtime.registry, "get", broken)
    response = await client.post("/graphql", json={"query": '{ journey(id: "x") { id } viewer { name } }'})
    body = response.json()
    assert response.status_code == 200
    assert body["data"] == {"journey": None, "viewer": {"name": "legacy"}}
    (error,) = body["errors"]
    assert error["message"] == INTERNAL_MESSAGE
    assert error["extensions"] == {"code": "INTERNAL", "requestId": response.headers["x-request-id"]}
    assert "secret" not in response.text


async def test_node_finds_anything_by_its_id(ask: Ask, happen: Ask) -> None:
    event = (await happen("user.signed_up", "ada"))["event"]["uuid"]
    found = await ask(
        "query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }",
        {
            "ids": [
                f"event_{event}",
                "journey_activation-welcome",
                "template_welcome",
                "entry_1",
                f"contact_{event}",
                event,
                "nonsense",
                "journey_no-such",
            ]
        },
    )
    assert [one and one["__typename"] for one in found["nodes"]][:3] == ["Event", "Journey", "Template"]
    assert found["nodes"][4:] == [None] * 4


async def test_a_contact_is_found_by_any_key(ask: Ask, happen: Ask) -> None:
    await happen("seen", "ada", email="Ada@Example.com")
    document = "query ($by: ContactBy!) { contact(by: $by) { id uuid } }"
    first = (await ask(document, {"by": {"externalId": "ada"}}))["contact"]
    for by in (
        {"email": "ADA@example.com"},
        {"id": first["id"]},
        {"id": first["uuid"]},
        {"ref": "ada"},
        {"ref": first["uuid"]},
    ):
        assert (await ask(document, {"by": by}))["contact"] == first
    assert (await ask(document, {"by": {"id": "nonsense"}}))["contact"] is None


async def test_graphiql_is_whole_without_a_network(client: httpx.AsyncClient, app: Starlette) -> None:
    page = await client.get("/graphql", headers={"Accept": "text/html,*/*;q=0.8", "Authorization": ""})
    assert page.headers["content-type"].startswith("text/html")
    assert "test-admin-key-long-enough" not in page.text
    named = [part.split('"')[0] for part in page.text.split("/graphql/static/")[1:]]
    assert len(named) == 7
    for name in named:
        assert (await client.get(f"/graphql/static/{name}")).status_code == 200, name
    assert "http://" not in page.text
    assert "https://" not in page.text
