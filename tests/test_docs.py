"""Pages about the code say what the code says."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from graphql import parse, validate
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from strawberry.utils.str_converters import to_snake_case

from hogsend.decisions.meanings import KINDS, REASONS
from hogsend.decisions.reasons import Kind, Reason
from hogsend.schema.root import graphql_schema
from hogsend.settings import Settings

DOCS = Path(__file__).parents[1] / "docs"
ROOT = DOCS.parent
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "benchmarks/README.md",
    *sorted(f"docs/{page.name}" for page in DOCS.glob("*.md")),
]
GRAPHQL = re.compile(r"```graphql\n(.*?)```", re.DOTALL)


def rows(page: str) -> list[list[str]]:
    """The cells of each row of the page's tables, without their heads."""
    lines = [line for line in (DOCS / page).read_text().splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_each_kind_and_reason_has_one_row_that_means_what_the_schema_says() -> None:
    told = rows("decisions.md")
    known = [(kind.value, KINDS[kind]) for kind in Kind] + [(one.value, REASONS[one]) for one in Reason]
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
        case "":
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


PROSE = re.compile(r"```.*?```", re.DOTALL)
FILE = re.compile(r"`((?:[\w-]+/)*[\w-]+\.(?:py|yaml|toml|graphql|md|json))(?::\s*([\w, ]+))?`")
MEMBER = re.compile(r"`([A-Z]\w+)\.(\w+)(?:\([^`]*\))?`")
SOURCES = [
    path
    for base in ("hogsend", "worker", "tests", "benchmarks", "migrations")
    for path in (ROOT / base).rglob("*.py")
]
CLASSES: dict[str, str] = defaultdict(str)
for _path in SOURCES:
    _source = _path.read_text()
    for _node in ast.walk(ast.parse(_source)):
        if isinstance(_node, ast.ClassDef):
            CLASSES[_node.name] += ast.get_source_segment(_source, _node) or ""


def prose(page: str) -> str:
    return PROSE.sub("", (ROOT / page).read_text())


def located(name: str) -> list[Path]:
    """The files of this repository that a page may mean by `name`: by its whole path, or from within `hogsend/`."""
    places = [ROOT / name, ROOT / "hogsend" / name, DOCS / name, ROOT / "tests" / name]
    return [place for place in places if place.exists()]


@pytest.mark.parametrize("page", PAGES)
def test_files_and_names_that_pages_mention_are_there(page: str) -> None:
    for name, members in FILE.findall(prose(page)):
        if "/" not in name and name.endswith(".py"):
            continue  # a file name as such, wherever it recurs
        found = located(name)
        assert found, f"{page} mentions {name}"
        for member in filter(None, (one.strip() for one in members.split(","))):
            source = found[0].read_text()
            assert re.search(rf"\b(class|def) {member}\b|^{member}\b", source, re.M), (
                f"{page}: {name} has no {member}"
            )


@pytest.mark.parametrize("page", PAGES)
def test_members_that_pages_mention_are_there(page: str) -> None:
    for name, member in MEMBER.findall(prose(page)):
        if name in CLASSES:
            ours = to_snake_case(member)
            assert re.search(rf"\b{ours}\b", CLASSES[name]), f"{page}: {name} has no {member}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_pages_mention_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    for target in re.findall(r"(?:^|`)make ([a-z][\w-]*)", text, re.M):
        assert target in targets, f"{page}: make {target}"
    for module in re.findall(r"python -m ((?:hogsend|benchmarks)[\w.]*)", text):
        assert located(module.replace(".", "/") + ".py") or located(
            module.replace(".", "/") + "/__init__.py"
        ), module


def test_commits_that_pages_show_are_in_the_history() -> None:
    """Where there is a history: an archive and a shallow clone have none."""
    hashes = re.findall(r"Example: ([0-9a-f]{7})", (DOCS / "contributing.md").read_text())
    assert len(hashes) == 9
    git = ["git", "-C", str(ROOT)]
    shallow = subprocess.run([*git, "rev-parse", "--is-shallow-repository"], capture_output=True, text=True)
    if shallow.returncode != 0 or shallow.stdout.strip() == "true":
        pytest.skip("no history here")
    for commit in hashes:
        subprocess.run([*git, "cat-file", "-e", f"{commit}^{{commit}}"], check=True)
