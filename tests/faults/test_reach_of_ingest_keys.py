"""A key without `read` reads nothing but what its own mutation made, however its document is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from graphql import GraphQLObjectType, get_named_type, is_composite_type, is_required_argument

from hogsend.access.caller import Caller, Scope
from hogsend.graphql.fields import ANY_KEY, SCOPE
from hogsend.runtime import Runtime
from hogsend.schema.root import graphql_schema
from hogsend.serving.execution import Executor
from hogsend.serving.reach import is_own
from tests.access.keys import make_key

SCHEMA = graphql_schema()
INGEST_KEY = Caller("ingest", frozenset({Scope.INGEST}))
EVENT = '(input: {name: "signup", userId: "ada", email: "ada@example.com"})'
ARGUMENTS = {
    "eventIngest": EVENT,
    "eventsIngest": EVENT.replace("{name", "{events: [{name").replace("})", "}]})"),
}
DEEPEST = 3

# All that an ingest key may read by GraphQL. Whoever adds to it has thought of whose data that is.
READABLE = {
    "viewer": {
        *("uuid", "name", "scopes"),
        *("rateLimit.limit", "rateLimit.remaining", "rateLimit.resetAt"),
    },
    "eventIngest": {
        "stored",
        *("event.id", "event.uuid", "event.name", "event.properties", "event.source"),
        *("event.occurredAt", "event.receivedAt"),
        *("exits.journeyId", "exits.exited"),
        *("userErrors.field", "userErrors.message", "userErrors.code"),
    },
    "eventsIngest": {
        *("stored", "results.stored", "results.exits.journeyId", "results.exits.exited"),
        *("results.error.field", "results.error.message", "results.error.retry"),
        *("userErrors.field", "userErrors.message", "userErrors.code"),
    },
}


def _roots() -> Iterator[tuple[str, str, Any]]:
    for root in (SCHEMA.query_type, SCHEMA.mutation_type, SCHEMA.subscription_type):
        assert root is not None
        for name, field in root.fields.items():
            wanted = field.extensions["strawberry-definition"].metadata[SCOPE]
            if wanted == ANY_KEY or INGEST_KEY.may(Scope(wanted)):
                yield ("mutation" if root is SCHEMA.mutation_type else "query"), name, field


def _paths(kind: GraphQLObjectType, deep: int) -> Iterator[tuple[str, ...]]:
    """Every way down to a value, by way of interfaces' own types too."""
    for name, field in kind.fields.items():
        if any(is_required_argument(one) for one in field.args.values()):
            assert not is_own(SCHEMA, kind, name)
            continue
        below: Any = get_named_type(field.type)
        if not is_composite_type(below):
            yield (name,)
        elif deep > 1:
            for each in SCHEMA.get_possible_types(below) if not hasattr(below, "fields") else [below]:
                yield from ((name, *path) for path in _paths(each, deep - 1))


def _nested(path: tuple[str, ...]) -> str:
    return path[0] if len(path) == 1 else f"{path[0]} {{ {_nested(path[1:])} }}"


def test_no_document_of_an_ingest_key_reaches_a_field_of_another_object() -> None:
    executor, seen = Executor(SCHEMA), set()
    for operation, root, field in _roots():
        seen.add(root)
        allowed = set()
        for path in _paths(get_named_type(field.type), DEEPEST):
            prepared = executor.prepare(
                f"{operation} {{ {root}{ARGUMENTS.get(root, '')} {{ {_nested(path)} }} }}"
            )
            if prepared.reaches is None:
                allowed.add(".".join(path))
        assert allowed == READABLE[root]
    assert seen == READABLE.keys()


WALKS = (
    "event { contact { email } }",
    "event { userId }",
    "event { renamed: decisions { nodes { __typename } } }",
    "event { decisions { pageInfo { hasNextPage } } }",
    "event { ...Far }",
    "event { ... on Node { ... on Event { emails { nodes { subject } } } } }",
    "event { contact @include(if: false) { email } }",
    "exits { state { uuid } }",
)


@pytest.mark.parametrize("walk", WALKS)
async def test_an_ingest_key_that_asks_for_more_is_refused_and_nothing_happens(
    client: httpx.AsyncClient, runtime: Runtime, walk: str
) -> None:
    _, ingest = await make_key(runtime, Scope.INGEST)
    _, reader = await make_key(runtime, Scope.INGEST, Scope.READ)
    fragment = "fragment Far on Event { contact { ...Who } } fragment Who on Contact { email }"
    used = fragment if "...Far" in walk else ""
    document = {"query": f"mutation {{ eventIngest{EVENT} {{ stored {walk} }} }} {used}"}
    refused = await client.post("/graphql", json=document, headers={"Authorization": ingest})
    (error,) = refused.json()["errors"]
    assert error["extensions"]["code"] == "FORBIDDEN"
    assert "takes `read`" in error["message"]
    assert "data" not in refused.json()
    assert (await client.get("/v1/admin/events")).json()["total"] == 0
    answered = (await client.post("/graphql", json=document, headers={"Authorization": reader})).json()
    assert answered["data"]["eventIngest"]["stored"] is True, answered


async def test_an_ingest_key_still_reads_what_it_made(client: httpx.AsyncClient, runtime: Runtime) -> None:
    _, ingest = await make_key(runtime, Scope.INGEST)
    asked = "stored event { __typename id name properties } exits { journeyId exited } userErrors { message }"
    answer = await client.post(
        "/graphql",
        json={"query": f"mutation {{ eventIngest{EVENT} {{ {asked} }} }}"},
        headers={"Authorization": ingest},
    )
    made = answer.json()["data"]["eventIngest"]
    assert (made["stored"], made["event"]["name"], made["userErrors"]) == (True, "signup", [])
