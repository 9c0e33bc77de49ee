"""How many statements a query costs: one a level, whatever the page size. Every root field is measured."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from sqlalchemy import insert

from hogsend.clock import ManualClock
from hogsend.runtime import Runtime
from hogsend.schema.root import graphql_schema
from hogsend.storage.metadata import new_id
from hogsend.tables.emails import suppressions
from tests.driving import drive, send_event, statements
from tests.fixtures.graphql import Ask

PEOPLE = 8
_PARAMETERS = re.compile(r"\$\d+(::\w+)?(, \$\d+(::\w+)?)*")

# Each document with the most statements that it may take; `$n` is the size of every page.
CONTACT = "uuid userId preferences { email }"
STATE = "userId status waitingFor { until } contact { email } journey { name } triggerEvent { name }"
EMAIL = "userId subject contact { email } state { status } event { name } template { name } journey { name }"
DECISION = "kind reason contact { email } state { status } event { name } email { subject } journey { name }"
EVENT = "name userId contact { email }"

DOCUMENTS: dict[str, tuple[str, int]] = {
    "viewer": ("{ viewer { name scopes } }", 0),
    "health": ("{ health { status } }", 4),
    "streamPosition": ("{ streamPosition }", 1),
    "node": (
        """query ($contact: ID!, $n: Int) {
            node(id: $contact) { id ... on Contact { events(first: $n) { nodes { name } } } } }""",
        2,
    ),
    "nodes": (
        'query ($contact: ID!) { nodes(ids: [$contact, $contact, "journey_activation-welcome"]) { id } }',
        1,
    ),
    "contact": (
        "query ($contact: ID!, $n: Int) { contact(by: { id: $contact }) { "
        + CONTACT
        + """
            timeline(first: $n) { totalCount nodes { kind cursor
              ... on EventReceived { event { name } } ... on JourneyProgress { state { status } }
              ... on EmailActivity { email { subject } } ... on DecisionMade { decision { reason } } } }
            events(first: $n) { nodes { name decisions(first: $n) { nodes { reason } } } }
            journeyStates(first: $n) { nodes { status logs(first: $n) { nodes { action } } } }
            emails(first: $n) { nodes { status history(first: $n) { nodes { type } } } }
            decisions(first: $n) { totalCount nodes { reason } } } }""",
        16,
    ),
    "contacts": (
        "query ($n: Int) { contacts(first: $n) { totalCount edges { cursor node { "
        + CONTACT
        + """
            timeline(first: $n) { nodes { kind } } events(first: $n) { totalCount nodes { name } }
            journeyStates(first: $n) { nodes { status } } emails(first: $n) { nodes { status } } } }
            pageInfo { endCursor } } }""",
        8,
    ),
    "journey": (
        """query ($n: Int) { journey(id: "activation-welcome") {
            enabled counts { waiting } states(first: $n) { totalCount nodes { """
        + STATE
        + " } } } }",
        7,
    ),
    "journeys": (
        """query ($n: Int) { journeys(first: $n) {
            totalCount nodes { enabled updatedAt counts { waiting } states(first: $n) { nodes { """
        + STATE
        + " } } } } }",
        6,
    ),
    "journeyState": (
        "query ($state: ID!, $n: Int) { journeyState(id: $state) { "
        + STATE
        + " emails(first: $n) { nodes { "
        + EMAIL
        + " } } decisions(first: $n) { nodes { reason } } } }",
        10,
    ),
    "journeyStates": (
        "query ($n: Int) { journeyStates(first: $n) { totalCount nodes { "
        + STATE
        + """
            logs(first: $n) { totalCount nodes { action } } emails(first: $n) { nodes { subject } }
            decisions(first: $n) { nodes { reason } } } } }""",
        9,
    ),
    "email": (
        "query ($email: ID!, $n: Int) { email(id: $email) { "
        + EMAIL
        + """ history(first: $n) { nodes { type } }
            links(first: $n) { nodes { clicks(first: $n) { totalCount nodes { clickedAt } } } } } }""",
        8,
    ),
    "emails": (
        "query ($n: Int) { emails(first: $n, sort: SENT_AT) { totalCount nodes { "
        + EMAIL
        + """
            history(first: $n) { nodes { type } } decisions(first: $n) { nodes { reason } }
            links(first: $n) { nodes { originalUrl clicks(first: $n) { totalCount nodes { clickedAt } } } } } } }""",
        10,
    ),
    "suppressions": (
        "query ($n: Int) { suppressions(first: $n) { totalCount nodes { address email { subject } } } }",
        3,
    ),
    "template": ('{ template(key: "welcome") { name variables } }', 0),
    "templates": ("query ($n: Int) { templates(first: $n) { totalCount nodes { name } } }", 0),
    "event": (
        "query ($event: ID!, $n: Int) { event(id: $event) { "
        + EVENT
        + """ decisions(first: $n) { nodes { reason } }
            states(first: $n) { nodes { status } } emails(first: $n) { nodes { subject } } } }""",
        5,
    ),
    "events": (
        "query ($n: Int) { events(first: $n) { totalCount nodes { "
        + EVENT
        + """
            decisions(first: $n) { nodes { reason } } states(first: $n) { nodes { status } }
            emails(first: $n) { nodes { subject } } } } }""",
        6,
    ),
    "decisions": ("query ($n: Int) { decisions(first: $n) { totalCount nodes { " + DECISION + " } } }", 6),
}
# Measured by the tests of the features that they belong to.
ELSEWHERE = {
    "importJob",
    "apiKeys",
    "auditLog",
    "metrics",
    "alertRules",
    "alerts",
    "invariantFindings",
    "deadLetters",
}


@pytest.fixture
async def world(runtime: Runtime, clock: ManualClock, ask: Ask) -> dict[str, str]:
    """Some people who were welcomed; the ids of one of each kind."""
    for number in range(PEOPLE):
        await send_event(runtime, "user.signed_up", email=f"person-{number}@example.com")
        await send_event(runtime, "seen", email=f"person-{number}@example.com")
    await drive(runtime)
    async with runtime.database.transaction() as conn:
        for number in range(PEOPLE):
            row = {"id": new_id(), "email": f"gone-{number}@example.com", "type": "manual"}
            await conn.execute(insert(suppressions).values(**row, created_at=clock.now()))
    found = await ask(
        "{ contacts(first: 1) { nodes { id } } journeyStates(first: 1) { nodes { id } }"
        " emails(first: 1) { nodes { id } } events(first: 1) { nodes { id } } }"
    )
    names = {"contact": "contacts", "state": "journeyStates", "email": "emails", "event": "events"}
    return {name: found[plural]["nodes"][0]["id"] for name, plural in names.items()}


def test_every_root_field_is_measured() -> None:
    query = graphql_schema().query_type
    assert query is not None
    assert set(query.fields) == set(DOCUMENTS) | ELSEWHERE


async def test_statements_do_not_grow_with_the_page(
    runtime: Runtime, ask: Ask, world: dict[str, str]
) -> None:
    for field, (document, most) in DOCUMENTS.items():
        taken: dict[int, Counter[str]] = {}
        for size in (2, PEOPLE):
            variables = {name: value for name, value in world.items() if f"${name}:" in document}
            with statements(runtime.database) as seen:
                await ask(document, variables | ({"n": size} if "$n" in document else {}))
            taken[size] = Counter(_PARAMETERS.sub("…", statement) for statement in seen)
            assert len(seen) <= most, (field, size, seen)
        # A longer page may hold a kind of entry that the shorter one lacked; nothing may be asked more often.
        more = {text: n for text, n in taken[PEOPLE].items() if n > max(1, taken[2][text])}
        assert not more, (field, more)


async def test_a_count_costs_a_statement_only_where_it_is_asked_for(
    runtime: Runtime, ask: Ask, world: object
) -> None:
    for document, expected in (
        ("{ contacts { nodes { email } } }", 1),
        ("{ contacts { totalCount } }", 1),
        ("{ contacts { totalCount nodes { email } edges { cursor } pageInfo { hasNextPage } } }", 2),
        ("{ contacts { __typename } }", 0),
    ):
        with statements(runtime.database) as seen:
            await ask(document)
        assert len(seen) == expected, (document, seen)
