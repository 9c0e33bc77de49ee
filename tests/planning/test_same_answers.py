"""Plans answer as graphql-core does, to the byte: every documented operation, and random documents of the schema."""

from __future__ import annotations

import asyncio
import os
from random import Random

import orjson
import pytest

from hogsend.access.caller import THE_ADMIN_KEY, Caller, Scope
from hogsend.clock import ManualClock
from hogsend.graphql.context import Context
from hogsend.planning.execute import PLANNED
from hogsend.runtime import Runtime
from hogsend.schema.root import graphql_schema
from hogsend.serving.execution import Answer, Executor, Refused
from tests.driving import send_event
from tests.fixtures.graphql import Ask
from tests.planning.documents import Documents
from tests.schema.test_statements import DOCUMENTS, PEOPLE, world

__all__ = ["world"]

EXAMPLES = int(os.environ.get("HOGSEND_EXAMPLES", "15")) * 8


@pytest.fixture(scope="module")
def tiers() -> tuple[Executor, Executor]:
    return Executor(graphql_schema()), Executor(graphql_schema(), planned=False)


async def both(
    runtime: Runtime,
    tiers: tuple[Executor, Executor],
    source: str,
    variables: dict[str, object],
    caller: Caller = THE_ADMIN_KEY,
) -> tuple[bytes, bytes, str | None]:
    """What either answers, and which tier the first was served by."""
    answers = []
    tier = None
    for executor in tiers:
        context = Context(runtime, caller, request_id="the same")
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


# Each with its variables: how it goes wrong, what is missing, what is left out.
ODD: dict[str, tuple[str, dict[str, object]]] = {
    "a bad cursor": ('{ contacts(first: 1, after: "bad") { nodes { id } } }', {}),
    "a cursor of another list": (
        '{ contacts(first: 1, after: "WyJlbWFpbHMuY3JlYXRlZF9hdC5kZXNjIixudWxsLG51bGxd") { nodes { id } } }',
        {},
    ),
    "a page that is too long": ("{ emails(first: 101) { nodes { id } } }", {}),
    "a page of a person's that is too long": (
        "{ a: events(first: 1) { nodes { contact { emails(first: 500) { nodes { id } } } } } viewer { name } }",
        {},
    ),
    "first and last": ("{ events(first: 1, last: 1) { nodes { id } } }", {}),
    "nobody": ('{ contact(by: { externalId: "nobody" }) { id timeline { nodes { id } } } }', {}),
    "a malformed id": ('{ node(id: "nonsense") { id } email(id: "contact_1") { id } }', {}),
    "many ids": (
        "query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id ... on Contact { email } ... on Email { subject } } }",
        {"ids": ["$contact", "$email", "$contact", "journey_nothing", "state_x"]},
    ),
    "a variable that does not fit": (
        "query ($n: Int!) { contacts(first: $n) { totalCount } }",
        {"n": "many"},
    ),
    "a variable that is missing": ("query ($n: Int!) { contacts(first: $n) { totalCount } }", {}),
    "a filter that does not fit": (
        "query ($f: ContactFilter) { contacts(filter: $f) { totalCount } }",
        {"f": {"nothing": 1}},
    ),
    "an empty page": ("{ contacts(first: 0) { nodes { id } edges { cursor } pageInfo { endCursor } } }", {}),
}
LEFT_OUT = """
query ($yes: Boolean!, $no: Boolean = false) {
  contacts(first: 3) {
    totalCount @skip(if: $yes)
    nodes @include(if: $no) { id }
    edges { node { ...Person } cursor @include(if: $yes) }
  }
  events(first: 2) @skip(if: $yes) { nodes { name } }
  again: events(first: 2) { nodes { ... on Event @include(if: $yes) { name } ... @skip(if: $no) { uuid } id } }
}
fragment Person on Contact {
  id ... on Node { id } preferences { categories } properties
  timeline(first: 3) { nodes { __typename ...Entry @include(if: $yes) ... on EventReceived { event { name } } } }
}
fragment Entry on TimelineEntry { at kind ... on DecisionMade { decision { reason } } }
"""
MUTATIONS = {
    "contactUpsert": """mutation {
        contactUpsert(input: { email: "person-1@example.com", properties: { plan: "pro" } }) {
        contact { id email properties events(first: 2) { totalCount nodes { name decisions { nodes { reason } } } } }
        userErrors { field message code } } }""",
    "refused": """mutation { contactUpsert(input: { email: "no address" }) {
        contact { id } userErrors { field message code } } }""",
    "contactPreferencesUpdate": """mutation ($contact: ID!) {
        contactPreferencesUpdate(input: { by: { id: $contact }, unsubscribedAll: true }) {
        __typename preferences { id userId categories unsubscribedAll } userErrors { code } } }""",
    "two": """mutation {
        a: contactUpsert(input: { email: "person-1@example.com" }) { contact { ...P } }
        b: contactUpsert(input: { email: "person-2@example.com" }) { contact { ...P preferences { id } } } }
        fragment P on Contact { id emails(first: 3) { nodes { subject state { status } } } }""",
}
SUBSCRIPTIONS = {
    "contactTimeline": """subscription ($contact: ID!) { contactTimeline(by: { id: $contact }) { __typename kind at
        ... on EventReceived { event { name properties contact { email preferences { email } } } } } }""",
    "eventReceived": """subscription { eventReceived(filter: { name: "seen" }) {
        id event { name decisions { totalCount nodes { reason } } } } }""",
}


@pytest.mark.parametrize("name", sorted(ODD))
async def test_what_goes_wrong(
    runtime: Runtime, world: dict[str, str], tiers: tuple[Executor, Executor], name: str
) -> None:
    document, variables = ODD[name]
    given = {
        key: [world.get(str(one)[1:], one) for one in value] if isinstance(value, list) else value
        for key, value in variables.items()
    }
    planned, core, _ = await both(runtime, tiers, document, given)
    assert planned == core


@pytest.mark.parametrize("yes", [True, False])
@pytest.mark.parametrize("no", [True, False])
async def test_what_is_left_out(
    runtime: Runtime, world: object, tiers: tuple[Executor, Executor], yes: bool, no: bool
) -> None:
    planned, core, tier = await both(runtime, tiers, LEFT_OUT, {"yes": yes, "no": no})
    assert planned == core
    assert tier == PLANNED


@pytest.mark.parametrize("scopes", [frozenset({Scope.INGEST}), frozenset({Scope.READ}), frozenset()])
async def test_what_a_key_may_not_see(
    runtime: Runtime, world: dict[str, str], tiers: tuple[Executor, Executor], scopes: frozenset[Scope]
) -> None:
    for document in (
        f'{{ node(id: "{world["contact"]}") {{ id }} viewer {{ name }} }}',
        "{ apiKeys { nodes { name } } }",
        f'{{ nodes(ids: ["{world["event"]}", "key_x"]) {{ id }} }}',
    ):
        planned, core, _ = await both(runtime, tiers, document, {}, Caller("some", scopes))
        assert planned == core


@pytest.mark.parametrize("name", sorted(MUTATIONS))
async def test_payloads(
    runtime: Runtime, world: dict[str, str], tiers: tuple[Executor, Executor], name: str
) -> None:
    document = MUTATIONS[name]
    variables: dict[str, object] = {"contact": world["contact"]} if "$contact" in document else {}
    await both(runtime, tiers, document, variables)  # The first time may make what is there from then on.
    planned, core, tier = await both(runtime, tiers, document, variables)
    assert planned == core
    assert tier == PLANNED


@pytest.mark.parametrize("name", sorted(SUBSCRIPTIONS))
async def test_messages(
    runtime: Runtime, world: dict[str, str], tiers: tuple[Executor, Executor], name: str
) -> None:
    document = SUBSCRIPTIONS[name]
    variables = {"contact": world["contact"]} if "$contact" in document else {}
    contexts = [Context(runtime, THE_ADMIN_KEY) for _ in tiers]
    streams = [
        executor.subscribe(executor.prepare(document), variables, context)
        for executor, context in zip(tiers, contexts, strict=True)
    ]
    waiting = [asyncio.ensure_future(anext(stream)) for stream in streams]
    for context in contexts:
        await context.begun.wait()
    for number in range(PEOPLE):
        await send_event(runtime, "seen", email=f"person-{number}@example.com")
    planned, core = [_plain(await one) for one in waiting]
    for stream in streams:
        await stream.aclose()  # type: ignore[attr-defined]
    assert planned == core
    assert contexts[0].tier == PLANNED


async def test_answers_of_http_are_the_same_json(
    runtime: Runtime, world: object, tiers: tuple[Executor, Executor]
) -> None:
    """JSON columns go out as the text that Postgres has."""
    document = (
        "{ contacts { nodes { properties preferences { categories } events { nodes { properties } } } } }"
    )
    bodies = []
    for executor, raw in zip(tiers, (True, False), strict=True):
        context = Context(runtime, THE_ADMIN_KEY, raw_json=raw)
        answer = await executor.execute(executor.prepare(document), {}, context)
        bodies.append(orjson.loads(orjson.dumps(answer.to_json())))
    assert bodies[0] == bodies[1]


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
