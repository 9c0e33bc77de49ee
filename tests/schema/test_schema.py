"""The schema itself: exported, described, and each root field with its scope and its cost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    parse,
    validate,
)

from hogsend.access.caller import Scope
from hogsend.graphql.enums import described_enum
from hogsend.graphql.errors import Code
from hogsend.graphql.fields import ANY_KEY, COST, SCOPE
from hogsend.graphql.node import TYPES
from hogsend.schema.root import graphql_schema, sdl
from hogsend.serving import ws
from hogsend.serving.examples import EXAMPLES

ROOT = Path(__file__).parents[2]
SCHEMA = graphql_schema()
ROOTS = tuple(
    kind for kind in (SCHEMA.query_type, SCHEMA.mutation_type, SCHEMA.subscription_type) if kind is not None
)


def test_the_export_is_what_the_code_says() -> None:
    assert (ROOT / "schema.graphql").read_text() == sdl(), "run `hogsend schema > schema.graphql`"


def described_things() -> Iterator[tuple[str, str | None]]:
    for name, kind in SCHEMA.type_map.items():
        if name.startswith("__"):
            continue
        yield name, kind.description
        if isinstance(kind, GraphQLEnumType):
            for word, value in kind.values.items():
                yield f"{name}.{word}", value.description
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            for field_name, field in kind.fields.items():
                yield f"{name}.{field_name}", field.description
                for argument_name, argument in getattr(field, "args", {}).items():
                    yield f"{name}.{field_name}({argument_name}:)", argument.description


def test_everything_is_described() -> None:
    assert [name for name, description in described_things() if not description] == []


def test_every_root_field_declares_scope_and_cost() -> None:
    for root in ROOTS:
        for name, field in root.fields.items():
            metadata = field.extensions["strawberry-definition"].metadata
            assert metadata[SCOPE] in {*(scope.value for scope in Scope), ANY_KEY}, name
            assert isinstance(metadata[COST], int), name
            assert field.description is not None
            assert "Scope:" in field.description, name
            assert "Cost:" in field.description, name


def test_every_mutation_takes_one_input_and_answers_user_errors_with_its_own_codes() -> None:
    assert SCHEMA.mutation_type is not None
    for name, field in SCHEMA.mutation_type.fields.items():
        assert list(field.args) == ["input"], name
        stem = name[0].upper() + name[1:]
        payload: Any = SCHEMA.type_map[f"{stem}Payload"]
        assert str(payload.fields["userErrors"].type) == f"[{stem}UserError!]!", name
        error: Any = SCHEMA.type_map[f"{stem}UserError"]
        assert str(error.fields["code"].type) == f"{stem}ErrorCode!", name


def test_every_type_with_an_id_is_a_node() -> None:
    for name, kind in SCHEMA.type_map.items():
        if isinstance(kind, GraphQLObjectType) and "id" in kind.fields:
            assert "Node" in [interface.name for interface in kind.interfaces], name


def test_prefixes_of_ids_can_be_told_from_their_keys() -> None:
    assert all(prefix and "_" not in prefix for prefix in TYPES)


def test_every_list_of_things_with_ids_is_a_connection() -> None:
    for name, kind in SCHEMA.type_map.items():
        if not isinstance(kind, GraphQLObjectType) or name.endswith(("Connection", "Payload")):
            continue
        for field_name, field in kind.fields.items():
            of = str(field.type).strip("[]!")
            many = str(field.type).startswith("[")
            target = SCHEMA.type_map[of]
            if many and isinstance(target, GraphQLObjectType) and "id" in target.fields:
                pytest.fail(f"{name}.{field_name} is a list of {of}, not a connection")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.split("\n", 1)[0][2:40])
def test_the_example_tabs_are_valid(example: str) -> None:
    assert validate(SCHEMA, parse(example)) == []


def test_an_enum_without_a_description_is_refused() -> None:
    with pytest.raises(LookupError, match="describe FULL_ADMIN, INGEST"):
        described_enum(Scope, "Scope", "…", {Scope.READ: "…", Scope.JOURNEY_ADMIN: "…"})


def test_the_page_names_every_code() -> None:
    page = (ROOT / "docs" / "graphql.md").read_text()
    sources = "".join(
        (ROOT / "hogsend" / "serving" / name).read_text() for name in ("ws.py", "ws_messages.py")
    )
    closed = {*re.findall(r"Closed\((\d{4})", sources), *re.findall(r"close\((\d{4})", sources)}
    closed |= {str(ws.GOING_AWAY), str(ws.TRY_LATER)}
    assert [code.value for code in Code if f"| `{code.value}` |" not in page] == []
    assert sorted(closed) == sorted(re.findall(r"^\| (\d{4}) \|", page, re.MULTILINE))
