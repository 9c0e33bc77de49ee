"""Pages about the code say what the code says."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from graphql import parse, validate
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from hogsend.decisions.meanings import KINDS, REASONS
from hogsend.decisions.reasons import DecisionKind, Reason
from hogsend.schema.root import graphql_schema
from hogsend.settings import Settings
from tests.test_docs_mentions import PAGES

DOCS = Path(__file__).parents[1] / "docs"
GRAPHQL = re.compile(r"```graphql\n(.*?)```", re.DOTALL)


def rows(page: str) -> list[list[str]]:
    """The cells of each row of the page's tables, without their heads."""
    lines = [line for line in (DOCS / page).read_text().splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_each_kind_and_reason_has_one_row_that_means_what_the_schema_says() -> None:
    told = rows("decisions.md")
    known = [(kind.value, KINDS[kind]) for kind in DecisionKind] + [
        (one.value, REASONS[one]) for one in Reason
    ]
    assert sorted((name.strip("` "), meaning) for name, meaning, _ in told) == sorted(known)
    assert all(advice.strip("| ").endswith(".") for _, _, advice in told)


def variable(name: str, field: FieldInfo) -> str:
    return (field.alias or name).upper()


def default(field: FieldInfo) -> str:
    """The default as an operator would write it."""
    if field.default_factory is not None:
        return "random at each start"
    match field.default:
        case value if value is PydanticUndefined:
            return "required"
        case None:
            return "none"
        case "" | []:
            return "empty"
        case bool(value):
            return f"`{str(value).lower()}`"
        case list(values):
            return f"`{','.join(str(value) for value in values)}`"
    return f"`{field.default}`"


def test_each_setting_has_one_row_with_its_default() -> None:
    told = [(name.strip("` "), given) for name, given, _ in rows("settings.md")]
    fields = Settings.model_fields.items()
    assert told == [(variable(name, field), default(field)) for name, field in fields]


def test_each_fault_names_a_test_that_exists() -> None:
    told = re.findall(r"\| `([\w/]+\.py)::(\w+)` \| ([\w ]+) \|", (DOCS / "faults.md").read_text())
    assert len(told) > 40
    for path, name, where in told:
        source = (DOCS.parent / "tests" / path).read_text()
        assert re.search(rf"^(async )?def {name}\(", source, re.M), name
        assert (where == "each engine") == path.startswith("faults/engines/"), name
    shown = {(path, name) for path, name, _ in told}
    for module in (DOCS.parent / "tests" / "faults" / "engines").glob("test_*.py"):
        for name in re.findall(r"^async def (test_\w+)\(", module.read_text(), re.M):
            assert (f"faults/engines/{module.name}", name) in shown, f"{name} shows nothing"


@pytest.mark.parametrize("page", PAGES)
def test_documents_in_pages_fit_the_schema(page: str) -> None:
    for document in GRAPHQL.findall((DOCS.parent / page).read_text()):
        assert validate(graphql_schema(), parse(document)) == [], document


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    path = DOCS.parent / page
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_the_readmes_commands_ask_what_the_api_answers() -> None:
    """Each `curl … -d` of the README is JSON, and its query fits the schema."""
    blocks = re.findall(r"```sh\n(.*?)```", (DOCS.parent / "README.md").read_text(), re.S)
    bodies = []
    for block in blocks:
        words = shlex.split(block.replace("\\\n", ""))
        bodies += [words[index + 1] for index, word in enumerate(words) if word == "-d"]
    assert len(bodies) == 2
    for body in bodies:
        errors = validate(graphql_schema(), parse(json.loads(body)["query"]))
        assert not errors, errors
