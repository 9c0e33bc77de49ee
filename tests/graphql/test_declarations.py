"""What types, lists, links and filters declare fits the collections that they are declared over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from graphql import GraphQLInterfaceType, GraphQLObjectType

from hogsend.graphql.mapping import field_plan, filter_plan
from hogsend.graphql.node import TYPES, Node
from hogsend.graphql.rows import LINK, ROWS, RowLink, RowList
from hogsend.schema.contacts.timeline import TimelineEntry
from hogsend.schema.root import graphql_schema
from hogsend.tables.deadletters import DeadLetterStatus

SCHEMA = graphql_schema()


def declared(key: str) -> Iterator[tuple[str, type, Any]]:
    """Each field that carries a declaration: where it is, the class that it is a field of, and the declaration."""
    for name, kind in SCHEMA.type_map.items():
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType) and not name.startswith("__"):
            for field_name, field in kind.fields.items():
                definition = field.extensions.get("strawberry-definition")
                if definition is not None and key in definition.metadata:
                    origin = kind.extensions["strawberry-definition"].origin
                    yield f"{name}.{field_name}", origin, definition.metadata[key]


LISTS: list[tuple[str, type, RowList]] = list(declared(ROWS))
LINKS: list[tuple[str, type, RowLink]] = list(declared(LINK))
OF_ROWS = [kind for kind in TYPES.values() if kind.collection is not None]


@pytest.mark.parametrize("kind", OF_ROWS, ids=lambda kind: kind.__name__)
def test_a_type_of_rows_maps_columns_that_its_collection_reads(kind: type[Node]) -> None:
    assert kind.collection is not None
    read = {str(column.key) for column in kind.collection.columns}
    if kind.of.__func__ is Node.of.__func__ or kind is TimelineEntry:  # type: ignore[attr-defined]
        assert [step.field for step in field_plan(kind) if step.name not in read] == []


def test_enums_are_converted_by_their_annotation() -> None:
    plan = {step.field: step for step in field_plan(TYPES["deadletter"])}
    assert plan["created_at"].convert is None
    assert plan["status"].convert("retried") is DeadLetterStatus.RETRIED


@pytest.mark.parametrize(
    ("kind", "rows"), [(kind, rows) for _, kind, rows in LISTS], ids=[one[0] for one in LISTS]
)
def test_a_list_narrows_and_sorts_by_what_its_collection_has(kind: type, rows: RowList) -> None:
    filters = [*rows.plan, *(filter_plan(rows.filter) if rows.filter is not None else ())]
    assert [step.field for step in filters if step.name not in rows.collection.filters] == []
    sorts = [rows.ascending] if rows.ascending else [one.value for one in rows.sorts or ()]
    assert [sort for sort in sorts if sort not in rows.collection.sorts] == []
    assert rows.collection.node in TYPES
    assert (rows.column is None) is (kind.__name__ == "Query")


@pytest.mark.parametrize(
    ("kind", "link"), [(kind, link) for _, kind, link in LINKS], ids=[one[0] for one in LINKS]
)
def test_a_link_starts_from_an_attribute_of_its_type(kind: type, link: RowLink) -> None:
    assert link.prefix in TYPES
    assert link.by in {step.field for step in field_plan(kind)}


def test_most_lists_and_links_are_declared() -> None:
    assert len(LISTS) > 25
    assert len(LINKS) > 25
