"""Which executor serves what: every read of REST, of the docs and of GraphiQL's tabs goes by plans."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphql import OperationDefinitionNode, get_introspection_query, parse
from prometheus_client import REGISTRY

from hogsend.access.caller import THE_ADMIN_KEY
from hogsend.graphql.context import Context
from hogsend.planning.execute import GRAPHQL_CORE, PLANNED
from hogsend.rest.admin import ROUTES
from hogsend.runtime import Runtime
from hogsend.schema.root import graphql_schema
from hogsend.serving.examples import EXAMPLES
from hogsend.serving.execution import Answer, Executor
from tests.driving import send_event
from tests.fixtures.graphql import Ask
from tests.schema.test_statements import world

__all__ = ["world"]

DOCS = Path(__file__).parents[2] / "docs"
FENCED = re.compile(r"```graphql\n(.*?)```", re.DOTALL)
READS = [route.operation.partition(" ")[2] for route in ROUTES if route.operation.startswith("GET ")]
# What graphql-core serves on purpose.
EXEMPT = {
    "__schema and __type": "they read the schema, not rows: graphql-core answers from memory, once a client",
}


def served(tier: str) -> float:
    return REGISTRY.get_sample_value("hogsend_graphql_answers_total", {"tier": tier}) or 0


@pytest.fixture
def executor() -> Executor:
    return Executor(graphql_schema())


@pytest.fixture
async def paths(client: httpx.AsyncClient, world: dict[str, str]) -> dict[str, str]:
    """What stands for each name in a path, by the path's first word and the name."""
    rows = '[{"email": "good@example.com"}, {"email": "no address"}]'
    begun = await client.post("/v1/admin/contacts/import", json={"format": "json", "data": rows})
    assert begun.status_code in (200, 201, 202), begun.text
    uuids = {name: one.partition("_")[2] for name, one in world.items()}
    return {
        "contacts id": uuids["contact"],
        "contacts jobId": next(one for one in _texts(begun.json()) if re.fullmatch(r"[0-9a-f-]{36}", one)),
        "events id": uuids["event"],
        "emails id": uuids["email"],
        "journeys id": "activation-welcome",
        "journeys stateId": uuids["state"],
        "journey-logs stateId": uuids["state"],
        "metrics id": "activation-welcome",
    }


def _texts(found: Any) -> list[str]:
    if isinstance(found, dict):
        return [text for value in found.values() for text in _texts(value)]
    return [found] if isinstance(found, str) else []


@pytest.mark.parametrize("path", READS)
async def test_each_read_of_rest(client: httpx.AsyncClient, paths: dict[str, str], path: str) -> None:
    first = path.split("/")[1]
    asked = re.sub(r"\{(\w+)\}", lambda name: paths[f"{first} {name[1]}"], path)
    planned, core = served(PLANNED), served(GRAPHQL_CORE)
    response = await client.get(f"/v1/admin{asked}")
    assert response.status_code == 200 or path.endswith("/preferences"), response.text
    assert (served(PLANNED), served(GRAPHQL_CORE)) == (planned + 1, core)


def shown() -> list[str]:
    """The operations of the docs and of GraphiQL's tabs; a block may hold several."""
    blocks = [block for page in sorted(DOCS.glob("*.md")) for block in FENCED.findall(page.read_text())]
    return [*EXAMPLES, *blocks]


@pytest.mark.parametrize("document", shown(), ids=lambda text: re.sub(r"\W+", " ", text)[:40])
async def test_each_operation_that_is_shown(
    runtime: Runtime, world: dict[str, str], executor: Executor, document: str
) -> None:
    await send_event(runtime, "user.signed_up", user_id="ada", email="ada@example.com")
    for operation in parse(document).definitions:
        if not isinstance(operation, OperationDefinitionNode):
            continue
        assert not operation.variable_definitions, "say in this test what they are"
        prepared = executor.prepare(document, operation.name.value if operation.name else None)
        context = Context(runtime, THE_ADMIN_KEY)
        if operation.operation.value == "subscription":
            continue  # `test_a_message_of_a_subscription`
        answer = await executor.execute(prepared, {}, context)
        assert not answer.errors, answer.errors
        assert context.tier == PLANNED


async def test_a_message_of_a_subscription(
    runtime: Runtime, executor: Executor, world: dict[str, str]
) -> None:
    document = f"""subscription {{ contactTimeline(by: {{ id: "{world["contact"]}" }}, after: "") {{
        kind ... on EventReceived {{ event {{ name contact {{ email }} }} }} }} }}"""
    context = Context(runtime, THE_ADMIN_KEY)
    answers = executor.subscribe(executor.prepare(document.replace(', after: ""', "")), {}, context)
    first = asyncio.ensure_future(anext(answers))
    await context.begun.wait()
    await send_event(runtime, "seen", email="person-7@example.com")
    await send_event(runtime, "seen", email="person-0@example.com")
    answer: Answer = await first
    await answers.aclose()  # type: ignore[attr-defined]
    assert answer.data is not None and answer.data["contactTimeline"]["event"]["name"] == "seen"
    assert context.tier == PLANNED


async def test_introspection_is_left_to_graphql_core(runtime: Runtime, executor: Executor) -> None:
    context = Context(runtime, THE_ADMIN_KEY)
    answer = await executor.execute(executor.prepare(get_introspection_query()), {}, context)
    assert answer.data is not None and "__schema" in answer.data and EXEMPT
    assert context.tier == GRAPHQL_CORE


@pytest.mark.parametrize("dev", [True, False])
async def test_the_tier_is_told_to_developers_alone(
    runtime: Runtime, ask: Ask, executor: Executor, monkeypatch: pytest.MonkeyPatch, dev: bool
) -> None:
    monkeypatch.setitem(runtime.settings.__dict__, "dev", dev)
    context = Context(runtime, THE_ADMIN_KEY)
    answer = await executor.execute(executor.prepare("{ contacts { totalCount } }"), {}, context)
    assert answer.extensions.get("tier") == (PLANNED if dev else None)
