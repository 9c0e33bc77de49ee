"""Depth, aliases, tokens and cost, measured on a schema small enough to count by hand."""

from __future__ import annotations

from typing import Any

import pytest
from graphql import (
    GraphQLError,
    OperationDefinitionNode,
    build_schema,
    get_introspection_query,
    get_operation_ast,
    validate,
)

from hogsend.serving.limits import (
    DocumentMeasure,
    LimitExceeded,
    check_limits,
    measured,
    parse_limited,
    validation_rules,
)
from hogsend.serving.result_cost import ResultCost

SCHEMA = build_schema("""
    interface Node { id: ID! }
    type PageInfo { hasNextPage: Boolean! }
    type Event implements Node { id: ID! contact: Contact! }
    type EventEdge { cursor: String! node: Event! }
    type EventConnection { edges: [EventEdge!]! nodes: [Event!]! pageInfo: PageInfo! totalCount: Int! }
    type Log { text: String! }
    type Contact implements Node {
      id: ID! friend: Contact logs: [Log!]! events(first: Int, last: Int): EventConnection!
    }
    type ContactEdge { cursor: String! node: Contact! }
    type ContactConnection { edges: [ContactEdge!]! nodes: [Contact!]! pageInfo: PageInfo! totalCount: Int! }
    type Query {
      contact: Contact
      contacts(first: Int, last: Int): ContactConnection!
      nodes(ids: [ID!]!): [Node]!
    }
""")


def measure(source: str, variables: dict[str, Any] | None = None) -> DocumentMeasure:
    document = parse_limited(source)
    assert validate(SCHEMA, document, validation_rules(introspection=True)) == []
    return measured(SCHEMA, document, _operation(document), variables or {})


def _operation(document: Any) -> OperationDefinitionNode:
    operation = get_operation_ast(document)
    assert operation is not None
    return operation


@pytest.mark.parametrize(
    ("source", "cost"),
    [
        ("{ contact { id } }", 1),
        ("{ contact { friend { friend { id } } } }", 3),
        ("{ contact { logs { text } } }", 1 + 10),
        ("{ contacts { totalCount pageInfo { hasNextPage } } }", 1),
        ("{ contacts { nodes { id } } }", 1 + 50),
        ("{ contacts(first: 7) { nodes { id } } }", 1 + 7),
        ("{ contacts(last: 7) { edges { cursor node { id } } } }", 1 + 7),
        ("{ contacts(first: 5000) { nodes { id } } }", 1 + 100),
        ("{ contacts(first: 0) { nodes { id } } }", 1),
        ("{ contacts(first: 10) { nodes { events(first: 5) { nodes { id } } } } }", 1 + 10 * (1 + 1 + 5)),
        ("{ contacts(first: 2) { nodes { id } edges { node { id } } } }", 1 + 2 + 2),
        ('{ nodes(ids: ["a", "b", "c"]) { id ... on Contact { friend { id } } } }', 3 + 3),
        ("{ __schema { types { name } } __typename }", 0),
        ("{ ...a ...a } fragment a on Query { contact { id } }", 2),
    ],
)
def test_cost_is_what_the_pages_can_return(source: str, cost: int) -> None:
    assert measure(source).cost == cost


def test_pages_in_variables_count() -> None:
    source = "query ($n: Int = 20, $m: Int) { contacts(first: $n) { nodes { events(first: $m) { nodes { id } } } } }"
    assert measure(source).cost == 1 + 20 * (1 + 1 + 50)
    assert measure(source, {"n": 3, "m": 2}).cost == 1 + 3 * (1 + 1 + 2)


def test_depth_and_aliases() -> None:
    assert measure("{ contact { friend { id } } }").depth == 2
    assert measure("{ contact { ...f } } fragment f on Contact { friend { friend { id } } }").depth == 3
    assert (
        measure("{ a: contact { b: id c: id } ...f } fragment f on Query { d: contact { id } }").aliases == 4
    )


def check(source: str) -> DocumentMeasure:
    document = parse_limited(source)
    return check_limits(SCHEMA, document, _operation(document), {})


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("{ contact " + "{ friend " * 12 + "{ id }" + "}" * 13, "BAD_REQUEST"),
        ("{" + " ".join(f"a{n}: contact {{ id }}" for n in range(31)) + "}", "BAD_REQUEST"),
        ("{" + "contact { id } " * 600 + "}", "BAD_REQUEST"),
        ("{ contact { id } } #" + "x" * 200_000, "BAD_REQUEST"),
        (
            "{ contacts { nodes { events { nodes { contact { events { nodes { id } } } } } } } }",
            "MAX_COST_EXCEEDED",
        ),
    ],
    ids=["depth", "aliases", "tokens", "characters", "cost"],
)
def test_bombs_are_refused(source: str, code: str) -> None:
    with pytest.raises(LimitExceeded) as refused:
        check(source)
    assert refused.value.extensions is not None
    assert refused.value.extensions["code"] == code


def test_the_limits_themselves_are_allowed() -> None:
    check("{ contact " + "{ friend " * 11 + "{ id }" + "}" * 12)
    check("{" + " ".join(f"a{n}: contact {{ id }}" for n in range(30)) + "}")


def test_fragments_that_double_are_measured_without_doubling_the_work() -> None:
    fragments = " ".join(
        f"fragment f{n} on Contact {{ friend {{ ...f{n + 1} ...f{n + 1} }} }}" for n in range(40)
    )
    source = f"{{ contact {{ ...f0 }} }} {fragments} fragment f40 on Contact {{ id }}"
    with pytest.raises(LimitExceeded):
        check(source)


def test_a_document_nested_past_the_parser_is_a_syntax_error() -> None:
    with pytest.raises(GraphQLError):
        parse_limited("{a" * 5_000)


def test_introspection_is_free_bounded_and_can_be_off() -> None:
    ordinary = parse_limited(get_introspection_query())
    assert validate(SCHEMA, ordinary, validation_rules(introspection=True)) == []
    assert check_limits(SCHEMA, ordinary, _operation(ordinary), {}).cost == 0
    assert validate(SCHEMA, ordinary, validation_rules(introspection=False)) != []
    nested = parse_limited("{ __schema { types " + "{ fields { type " * 6 + "{ name }" + "} }" * 6 + "} }")
    assert validate(SCHEMA, nested, validation_rules(introspection=True)) != []


def test_what_there_was_costs_what_was_asked_for_at_most() -> None:
    source = """{
        contacts(first: 50) { pageInfo { hasNextPage } edges { node { ...c } } nodes { logs { text } } }
        gone: contact { id }
        nodes(ids: ["a", "b"]) { ... on Contact { friend { id } } }
    }
    fragment c on Contact { events(first: 2) { nodes { id } } friend { id } }"""
    data = {
        "contacts": {
            "pageInfo": {"hasNextPage": False},
            "edges": [{"node": {"events": {"nodes": [{"id": "1"}]}, "friend": None}}],
            "nodes": [{"logs": [{"text": "x"}, {"text": "y"}]}],
        },
        "gone": None,
        "nodes": [{"friend": {"id": "2"}}, None],
    }
    document = parse_limited(source)
    actual = ResultCost(SCHEMA, document, _operation(document)).of(data)
    connection, edge_node, its_events, node_with_logs, node_and_friend = 1, 1, 1 + 1, 1 + 2, 1 + 1
    assert actual == connection + edge_node + its_events + node_with_logs + node_and_friend
    assert actual < measure(source).cost
