"""Bombs, introspection and trusted documents, over HTTP: refused before the database is asked."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import orjson
import pytest
from graphql import get_introspection_query

from hogsend.app import create_app
from hogsend.boot import open_runtime
from hogsend.clock import ManualClock
from hogsend.runtime import Runtime
from hogsend.schema.root import graphql_schema
from hogsend.serving.trusted_documents import TrustedDocuments
from hogsend.settings import Settings, SettingsError
from tests.conftest import ADMIN_KEY
from tests.driving import statements

VIEWER = "{ viewer { name } }"


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        open_runtime(settings, clock=ManualClock()) as runtime,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(create_app(settings, runtime)),
            base_url="http://hogsend.test",
            headers={"Authorization": f"Bearer {ADMIN_KEY}"},
        ) as client,
    ):
        yield client


def nested(levels: int) -> str:
    return (
        "{ contacts { nodes "
        + "{ journeyStates { nodes { contact " * levels
        + "{ id }"
        + "} } }" * levels
        + "} }"
    )


BOMBS = {
    "depth": (nested(6), "BAD_REQUEST", "levels deep"),
    "aliases": (
        "{" + " ".join(f"a{n}: viewer {{ name }}" for n in range(31)) + "}",
        "BAD_REQUEST",
        "31 aliases",
    ),
    "tokens": ("{" + "viewer { name } " * 600 + "}", "BAD_REQUEST", "2,000 tokens"),
    "characters": (VIEWER + "#" + "x" * 200_000, "BAD_REQUEST", "100,000 characters"),
    "cost": (
        "{ contacts(first: 100) { nodes { emails(first: 100) { nodes { contact { email } } } } } }",
        "MAX_COST_EXCEEDED",
        "ask for smaller pages",
    ),
    "fragments": (
        "{ contacts { nodes { ...f0 } } }"
        + " ".join(f"fragment f{n} on Contact {{ ...f{n + 1} ...f{n + 1} }}" for n in range(40))
        + "fragment f40 on Contact { "
        + "journeyStates { nodes { contact { " * 6
        + "id"
        + "} } }" * 6
        + " }",
        "BAD_REQUEST",
        "levels deep",
    ),
    "many fragments": (
        "{ viewer { name } } " + " ".join(f"fragment f{n} on Contact {{ id }}" for n in range(60)),
        "BAD_REQUEST",
        "50 fragments",
    ),
    "repetition": ("{" + "viewer { name } " * 20 + "}", "BAD_REQUEST", "20 times in one place"),
    "introspection": (
        "{" + " ".join(f"s{n}: __schema {{ types {{ name }} }}" for n in range(3)) + "}",
        "BAD_REQUEST",
        "2 uses of __schema",
    ),
    "cycle": ("{ contacts { nodes { ...f } } } fragment f on Contact { ...f }", "BAD_REQUEST", "itself"),
    "nul": ('{ contact(by: { email: "a\\u0000" }) { id } }', "BAD_REQUEST", "NUL"),
    "parentheses": ("{" + "a(" * 50_000, "BAD_REQUEST", ""),
}


@pytest.mark.parametrize(("query", "code", "says"), BOMBS.values(), ids=BOMBS)
async def test_bombs_do_not_reach_the_database(
    client: httpx.AsyncClient, runtime: Runtime, query: str, code: str, says: str
) -> None:
    with statements(runtime.database) as seen:
        answer = await client.post("/graphql", json={"query": query})
    assert answer.status_code in (400, 422)
    error = answer.json()["errors"][0]
    assert (error["extensions"]["code"], "data" in answer.json()) == (code, False)
    assert says in error["message"]
    assert seen == []


async def test_the_answer_says_what_it_cost_and_what_is_left(
    client: httpx.AsyncClient, runtime: Runtime
) -> None:
    runtime.settings.rate_limit = 10
    for user in ("ada", "bob"):
        await client.post("/v1/events", json={"name": "a", "userId": user})
    query = "{ contacts(first: 20) { nodes { id events(first: 10) { nodes { id } } } } }"
    answer = await client.post("/graphql", json={"query": query})
    assert answer.json()["extensions"]["cost"] == {
        "requested": 1 + 20 * (1 + 1 + 10),
        "actual": 1 + 2 * (1 + 1 + 1),
        "remaining": 9 * 10_000,
        "resetAt": "2026-01-15T10:31:00.000Z",
    }


async def test_a_refusal_for_its_cost_says_what_it_would_have_cost(client: httpx.AsyncClient) -> None:
    query = "{ contacts(first: 100) { nodes { events(first: 100) { nodes { id } } } } }"
    answer = await client.post("/graphql", json={"query": query})
    assert answer.json()["errors"][0]["extensions"] == {
        "code": "MAX_COST_EXCEEDED",
        "cost": {"requested": 1 + 100 * (1 + 1 + 100), "maximum": 10_000},
    }


async def test_introspection_can_be_off(settings: Settings, clean: None) -> None:
    async with serving(settings) as client:
        answer = await client.post("/graphql", json={"query": get_introspection_query()})
        assert answer.json()["data"]["__schema"]
    async with serving(settings.model_copy(update={"introspection": False})) as client:
        answer = await client.post("/graphql", json={"query": get_introspection_query()})
        assert answer.status_code == 422
        assert "introspection" in answer.json()["errors"][0]["message"]
        assert (await client.post("/graphql", json={"query": VIEWER})).json()["data"]


@pytest.fixture
def known(tmp_path: Path) -> tuple[str, Path]:
    document_id = hashlib.sha256(VIEWER.encode()).hexdigest()
    path = tmp_path / "documents.json"
    path.write_bytes(orjson.dumps({document_id: VIEWER}))
    return document_id, path


@pytest.mark.parametrize(
    ("mode", "by_id", "by_query"), [("off", 422, 200), ("allow", 200, 200), ("require", 200, 422)]
)
async def test_trusted_documents(
    settings: Settings, clean: None, known: tuple[str, Path], mode: str, by_id: int, by_query: int
) -> None:
    document_id, path = known
    chosen = settings.model_copy(update={"trusted_documents": mode, "trusted_documents_file": path})
    async with serving(chosen) as client:
        answers = [
            await client.post("/graphql", json={"documentId": document_id}),
            await client.get("/graphql", params={"documentId": document_id}),
            await client.post("/graphql", json={"query": VIEWER}),
        ]
        assert [answer.status_code for answer in answers] == [by_id, by_id, by_query]
        for answer in answers:
            if answer.status_code == 200:
                assert answer.json()["data"] == {"viewer": {"name": "legacy"}}
            else:
                assert answer.json()["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
        unknown = await client.post("/graphql", json={"documentId": "no"})
        both = await client.post("/graphql", json={"documentId": document_id, "query": VIEWER})
        assert (unknown.status_code, both.status_code) == (422, 422)
        rest = await client.get("/v1/admin/contacts")
        assert rest.status_code == 200, "REST runs documents of its own"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "HOGSEND_TRUSTED_DOCUMENTS_FILE must be set"),
        (b"{", "cannot be read"),
        (b"[]", "must be a JSON object"),
        (b'{"a": "{ viewer { nothing } }"}', "Trusted document a: Cannot query field 'nothing'"),
        (b'{"a": "{"}', "Trusted document a: Syntax Error"),
    ],
)
def test_documents_that_cannot_be_used_stop_the_start(
    settings: Settings, tmp_path: Path, content: bytes | None, says: str
) -> None:
    path = tmp_path / "documents.json"
    if content is not None:
        path.write_bytes(content)
    file = path if content is not None else None
    chosen = settings.model_copy(update={"trusted_documents": "require", "trusted_documents_file": file})
    with pytest.raises(SettingsError, match=says):
        TrustedDocuments.load(chosen, graphql_schema())
