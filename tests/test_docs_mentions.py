"""What pages mention of the code is there: files, folders, names, members, columns, commands, commits."""

from __future__ import annotations

import ast
import re
import subprocess
from collections import defaultdict
from functools import cache
from pathlib import Path

import click
import pytest
import typer.main
from graphql import GraphQLNamedType
from strawberry.utils.str_converters import to_snake_case

from hogsend import tables
from hogsend.cli import app
from hogsend.schema.root import graphql_schema
from hogsend.storage.metadata import metadata
from tests.test_import_directions import FLOORS

# In one process, which reads and parses the tree once.
pytestmark = pytest.mark.xdist_group("docs")

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "benchmarks/README.md",
    *sorted(f"docs/{page.name}" for page in DOCS.glob("*.md")),
]

BLOCK = re.compile(r"```.*?```", re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"((?:[\w.-]+/)*[\w-]+\.(?:py|yaml|toml|graphql|md|json))(?:(?:: ?|::)(\w[\w, ]*))?")
FOLDER = re.compile(r"(?:[\w.-]+/)+")
DOTTED = re.compile(r"([A-Za-z_]\w*(?:\.\w+)+)(?:\(.*\))?")
NAME = re.compile(r"[A-Za-z]+_\w+|[A-Z]\w*[a-z]\w*[A-Z]\w*|[a-z]+[A-Z]\w*")

# Objects that pages speak of by the name that an author or a resolver gives them, and the class of each.
NAMED = {
    "ctx": "Context", "context": "Context", "user": "User", "clock": "Clock", "runtime": "Runtime", "claim": "Claim",
}  # fmt: skip
# Said of the world, not of this repository.
ELSEWHERE = {
    "FORWARDED_ALLOW_IPS",
    "asyncio",
    "cProfile",
    "datetime",
    "extensions",
    "info",
    "properties",
    "strawberry",
    "time",
    "when",
}

TABLES = {table.name: set(table.c.keys()) for table in metadata.tables.values()}
assert tables.__path__  # imports every table


@cache
def sources() -> dict[Path, str]:
    """Every Python file but this one, read when it is first asked for and not as tests are collected."""
    return {
        path: path.read_text()
        for base in ("hogsend", "worker", "tests", "benchmarks", "migrations")
        for path in (ROOT / base).rglob("*.py")
        if path != Path(__file__)
    }


@cache
def classes() -> dict[str, str]:
    """The source of each class by its name; of all of them, where several have the name."""
    found: dict[str, str] = defaultdict(str)
    for source in sources().values():
        lines = source.splitlines()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                found[node.name] += "\n".join([*lines[node.lineno - 1 : node.end_lineno], ""])
    return found


def mentions(page: str) -> list[str]:
    """What stands between backticks in the page's prose."""
    return CODE.findall(BLOCK.sub("", (ROOT / page).read_text()))


def located(name: str) -> list[Path]:
    """The files or folders that a page may mean by `name`: by its whole path, or from a folder that pages speak of."""
    places = [base / name for base in (ROOT, ROOT / "hogsend", DOCS, ROOT / "tests")]
    found = [place for place in places if place.exists()]
    return found or ([path for path in sources() if path.name == name] if "/" not in name else [])


@pytest.mark.parametrize("page", PAGES)
def test_files_folders_and_their_names_are_there(page: str) -> None:
    for mention in mentions(page):
        if FOLDER.fullmatch(mention) and "<" not in mention:
            assert located(mention), f"{page} mentions {mention}"
        if match := FILE.fullmatch(mention):
            name, members = match.groups()
            found = located(name)
            assert found, f"{page} mentions {name}"
            for member in filter(None, (one.strip() for one in (members or "").split(","))):
                defined = rf"\b(class|def) {member}\b|^{member}\b"
                assert any(re.search(defined, path.read_text(), re.M) for path in found), (
                    f"{page}: {name} has no {member}"
                )


@pytest.mark.parametrize("page", PAGES)
def test_members_and_columns_are_there(page: str) -> None:
    for mention in mentions(page):
        if (match := DOTTED.fullmatch(mention)) and not FILE.fullmatch(mention):
            owner, *rest = match[1].split(".")
            wrong = f"{page}: {mention}"
            if owner in ("hogsend", "worker", "tests"):
                assert module_or_name(match[1]), wrong
            elif owner in NAMED or owner[0].isupper():
                member = to_snake_case(rest[0])
                source = classes()[NAMED.get(owner, owner)]
                assert re.search(rf"\bdef {member}\(|\bself\.{member}\b|^\s+{member}\b", source, re.M), wrong
            elif owner in TABLES:
                assert rest[0] in TABLES[owner], wrong
            else:
                assert owner in ELSEWHERE or not re.search(r"\(|_", mention), wrong


def module_or_name(dotted: str) -> bool:
    path = ROOT.joinpath(*dotted.split("."))
    if path.is_dir() or path.with_suffix(".py").exists():
        return True
    module = path.parent / "__init__.py" if path.parent.is_dir() else path.parent.with_suffix(".py")
    return module.exists() and re.search(rf"\b{path.name}\b", module.read_text()) is not None


def words() -> set[str]:
    """Every word of the code, of the schema, and of the files beside them."""
    beside = ["schema.graphql", "compose.yaml", "pyproject.toml", "Makefile", ".ci/run"]
    text = [*sources().values(), *((ROOT / name).read_text() for name in beside)]
    text += [path.read_text() for path in (ROOT / "hogsend").rglob("*.graphql")]
    return {word for one in text for word in re.findall(r"\w+", one)} | {path.stem for path in sources()}


def test_names_that_pages_mention_stand_in_the_code() -> None:
    """Names of our kind, snake_case or CamelCase, in prose and in the blocks of Python of pages about the inside.

    Not of `docs/journeys.md`: its names are authors' own, and `tests/journeys/test_docs.py` runs what it shows.
    """
    known = words()
    inside = ("docs/graphql-internals.md", "docs/architecture.md", "docs/contributing.md", "docs/glossary.md")
    for page in sorted(set(PAGES) - {"docs/journeys.md"}):
        told = [name for mention in mentions(page) for name in NAME.findall(mention)]
        if page in inside:
            blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S)
            told += [name for block in blocks for name in NAME.findall(block)]
        unknown = {name for name in told if name not in known | ELSEWHERE and not name.endswith("_")}
        assert not unknown, f"{page}: {sorted(unknown)}"


def test_the_glossary_says_where_each_word_is() -> None:
    """The third column names tables and columns, the fifth types and fields of the schema or words of REST."""
    types = graphql_schema().type_map
    fields = {
        name
        for kind in types.values()
        if isinstance(kind, GraphQLNamedType)
        for name in getattr(kind, "fields", getattr(kind, "values", {}))
    }
    spoken = "\n".join((DOCS / name).read_text() for name in ("rest.md", "decisions.md"))
    rows = [line.strip("| ").split(" | ") for line in (DOCS / "glossary.md").read_text().splitlines()]
    rows = [[cell.strip() for cell in row] for row in rows if len(row) >= 3 and row[0] not in ("word", "---")]
    assert len(rows) > 45
    told = [row[0] for row in rows]
    assert len(told) == len(set(told))
    for word, _, stored, *_rest in rows:
        for name in re.findall(r"`(\w+)`", stored):
            assert name in TABLES, f"{word}: no table {name}"
    for word, *_cells, wire in [row for row in rows if len(row) == 5]:
        for name in re.findall(r"`(\w+)`", wire):
            assert name in types or name in fields or re.search(rf"\b{name}\b", spoken), f"{word}: {name}"


@cache
def commands() -> dict[str, set[str]]:
    """The options of each command, by its words: `keys create` → {`--scope`, …}."""
    found: dict[str, set[str]] = {}
    pending: list[tuple[str, click.Command]] = [("", typer.main.get_command(app))]
    while pending:
        name, command = pending.pop()
        options = {flag for one in command.params for flag in (*one.opts, *one.secondary_opts)}
        found[name] = options | {"--help"}
        subcommands = getattr(command, "commands", {})
        pending += [(f"{name} {word}".strip(), one) for word, one in subcommands.items()]
    return found


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_their_options_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    for target in re.findall(r"(?:^|`)make ([a-z][\w-]*)", text, re.M):
        assert target in targets, f"{page}: make {target}"
    for module in re.findall(r"python -m ((?:hogsend|worker|benchmarks)[\w.]*)", text):
        assert module_or_name(module), f"{page}: python -m {module}"
    known = commands()
    for line in re.findall(r"(?:^|`)hogsend( [^`\n#>]*)", text, re.M):
        given = line.split()
        if given == ["--help"]:
            continue
        name = next((" ".join(given[:size]) for size in (2, 1) if " ".join(given[:size]) in known), None)
        assert name is not None, f"{page}: hogsend{line}"
        for option in (word for word in given if word.startswith("--")):
            assert option in known[name], f"{page}: hogsend{line}"
    for arguments in re.findall(r'make dev ARGS="([^"]*)"', text):
        for option in (word for word in arguments.split() if word.startswith("--")):
            assert option in known["dev"], f"{page}: {option}"


def test_the_drawing_of_the_house_has_its_floors_in_order() -> None:
    page = (DOCS / "architecture.md").read_text()
    drawing = page.split("## The house, floor by floor")[1].split("```")[1]
    rooms = [line for line in drawing.splitlines() if line and not line.startswith(" ")]
    drawn = [
        floor
        for line in rooms
        for floor in FLOORS
        if re.search(rf"(^|[ /]){floor}(/|\.py| |$)", re.split(r" {2,}", line)[0])
    ]
    assert drawn == list(FLOORS)
    for line in rooms:
        for name in re.findall(r"(\w+)/", re.split(r" {2,}", line)[0]):
            assert name in FLOORS, line
    below = ""
    for line in drawing.splitlines():
        room = re.match(r"(\w+)/ ", line)
        below = room[1] if room else below
        if part := re.match(r"  (\w+)/", line):
            assert (ROOT / "hogsend" / below / part[1]).is_dir(), line


def test_recipes_show_commits_of_this_history() -> None:
    """Each with its subject. An archive and a shallow clone have no history to look in."""
    told = re.findall(r"Example: ([0-9a-f]{7}) \*([^*]+)\*", (DOCS / "contributing.md").read_text())
    assert len(told) == 9
    git = ["git", "-C", str(ROOT)]
    shallow = subprocess.run([*git, "rev-parse", "--is-shallow-repository"], capture_output=True, text=True)
    if shallow.returncode != 0 or shallow.stdout.strip() == "true":
        pytest.skip("no history here")
    for commit, subject in told:
        shown = subprocess.run([*git, "show", "-s", "--format=%s", commit], capture_output=True, text=True)
        assert shown.stdout.strip() == subject, commit
