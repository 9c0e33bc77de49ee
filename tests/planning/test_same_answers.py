"""Plans answer as graphql-core does, to the byte: every documented operation, and random documents of the schema."""

from __future__ import annotations

import os
from random import Random

import orjson
import pytest

from hogsend.access.caller import THE_ADMIN_KEY
from hogsend.clock import ManualClock
from hogsend.graphql.context import Context
from hogsend.planning.execute import PLANNED
from hogsend.runtime import Runtime
from hogsend.schema.root import graphql_schema
from hogsend.serving.execution import Answer, Executor, Refused
from tests.fixtures.graphql import Ask
from tests.planning.documents import Documents
from tests.schema.test_statements import DOCUMENTS, PEOPLE, world

__all__ = ["world"]

EXAMPLES = int(os.environ.get("HOGSEND_EXAMPLES", "15")) * 8


@pytest.fixture(scope="module")
def tiers() -> tuple[Executor, Executor]:
    return Executor(graphql_schema()), Executor(graphql_schema(), planned=False)


async def both(
    runtime: Runtime, tiers: tuple[Executor, Executor], source: str, variables: dict[str, object]
) -> tuple[bytes, bytes, str | None]:
    """What either answers, and which tier the first was served by."""
    answers = []
    tier = None
    for executor in tiers:
        context = Context(runtime, THE_ADMIN_KEY, request_id="the same")
        try:
            answer = await executor.execute(executor.prepare(source), variables, context)
        except Refused as refused:
            answer = refused.answer()
        answers.append(orjson.dumps(_plain(answer)))
        tier = tier or context.tier
    return answers[0], answers[1], tier


def _plain(answer: Answer) -> object:
    body = answer.to_json()
    return body | {"errors": sorted(body.get("errors", ()), key=str), "status": answer.status}


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
async def test_each_root_field(
    runtime: Runtime, ask: Ask, world: dict[str, str], tiers: tuple[Executor, Executor], name: str
) -> None:
    document, _ = DOCUMENTS[name]
    variables: dict[str, object] = {key: value for key, value in world.items() if f"${key}:" in document}
    if "$n" in document:
        variables["n"] = PEOPLE
    planned, core, tier = await both(runtime, tiers, document, variables)
    if name not in (
        "viewer",
        "health",
        "contact",
        "streamPosition",
    ):  # which say what changes from one execution to the next
        assert planned == core
    assert tier == PLANNED


# graphql-core leaves coroutines of siblings behind where a field of theirs fails at once.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
async def test_random_documents(
    runtime: Runtime, clock: ManualClock, world: dict[str, str], tiers: tuple[Executor, Executor]
) -> None:
    ids = {
        "contact.by": (
            f'{{id: "{world["contact"]}"}}',
            '{email: "person-3@example.com"}',
            '{email: "no@example.com"}',
        ),
        "email.id": (f'"{world["email"]}"', '"email_00000000-0000-0000-0000-000000000000"'),
        "event.id": (f'"{world["event"]}"',),
        "journeyState.id": (f'"{world["state"]}"',),
        "journey.id": ('"activation-welcome"', '"nothing"'),
        "template.key": ('"welcome"', '"nothing"'),
        "node.id": tuple(f'"{one}"' for one in world.values()),
        "nodes.ids": (f'["{world["contact"]}", "{world["email"]}", "contact_nothing"]',),
        "after": ('"bad"', '"eyJ4Ijox"'),
        "name": ('"seen"', '"nothing"'),
        "id": (f'"{world["contact"]}"',),
    }
    served: list[str | None] = []
    for seed in range(EXAMPLES):
        source = Documents(graphql_schema(), Random(seed), ids).draw()
        planned, core, tier = await both(runtime, tiers, source, {})
        assert planned == core, (seed, source)
        served.append(tier)
    assert served.count(PLANNED) > len(served) / 2
