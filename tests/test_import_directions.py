"""Imports run one way: down the floors of the house. `FLOORS` is the whole rule, and the order to read the tree in."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]

FLOORS = (
    "errors",  # what a person can get wrong
    "addresses",  # which email addresses are taken, and their one spelling
    "json_bounds",  # how much JSON may hold
    "content_types",  # whether a body says that it is JSON
    "validation",  # what text, addresses and properties must look like
    "clock",  # the two times
    "backoff",  # pauses between attempts
    "settings",
    "telemetry",  # what is counted, and traces
    "logs",
    "storage",  # database, locks, collections, cursors, the embedded servers
    "tables",  # every table, one file a feature
    "runtime",  # what the parts of one process share
    "realtime",  # the activity log, its order, its streams
    "engine",  # when work is called: port, outbox, jobs, crons, embedded, Hatchet
    "decisions",  # the ledger
    "events",  # an event's values, and where events are kept
    "deadletters",  # what could not be done
    "consent",  # who may be written to
    "journeys",  # what authors write
    "runs",  # one person's run of a journey: its states and how it ends
    "access",  # keys, scopes, limits, audit, idempotency
    "contacts",  # identity, merge, imports, exports
    "emails",  # templates, tracking, providers, the send protocol
    "enrollment",  # what an event does to journeys, and why
    "ingestion",  # the one pipeline that events come in by
    "execution",  # advancing runs
    "operations",  # what operators do to runs and dead letters
    "metrics",
    "analytics",  # PostHog
    "alerts",
    "health",
    "monitoring",  # requests measured from outside, what waits, /metrics and the probes
    "graphql",  # the kit: how types, lists, links and mutations are declared
    "planning",  # queries executed level by level, from those declarations
    "schema",  # what the API shows, a folder a feature
    "serving",  # documents run over HTTP, WebSocket, SSE
    "rest",  # the contract as a table over documents
    "boot",
    "app",
    "worker",  # the worker process, the shipped journeys
    "testing",  # journeys on a virtual clock
    "cli",
)

# `runtime` names the types of what `boot` puts into it, and imports none of them.
NAMED_FOR_TYPES_ALONE = {"runtime"}


@dataclass(frozen=True)
class Import:
    path: Path
    line: int
    module: str
    name: str
    typed_only: bool

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line} imports {self.name}"


def modules() -> dict[str, Path]:
    """Each module by its dotted path without `hogsend`."""
    found = {}
    for base in (ROOT / "hogsend", ROOT / "worker"):
        for path in base.rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            parts = parts[1:] if parts[0] == "hogsend" else parts
            name = ".".join(parts).removesuffix(".__init__")
            if name != "__init__":  # the front door of authors
                found[name] = path
    return found


MODULES = modules()


def imports(module: str, path: Path) -> Iterator[Import]:
    """Each import of a module of ours, those inside functions and those for types alone included."""
    pending: list[tuple[ast.AST, bool]] = [(ast.parse(path.read_text()), False)]
    while pending:
        node, typed_only = pending.pop()
        typed_only = typed_only or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        pending.extend((child, typed_only) for child in ast.iter_child_nodes(node))
        if isinstance(node, ast.ImportFrom) and node.module:
            named = [(node.module, f"{node.module}.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.Import):
            named = [(alias.name, alias.name) for alias in node.names]
        else:
            continue
        for home, full in named:
            names = [name.removeprefix("hogsend.") for name in (full, home)]
            name = next((name for name in names if name in MODULES), None)
            if name is not None and name != module:
                yield Import(path, node.lineno, module, name, typed_only)


@cache
def all_imports() -> list[Import]:
    return [found for module, path in MODULES.items() for found in imports(module, path)]


def floor(module: str) -> int:
    return FLOORS.index(module.partition(".")[0])


def test_every_room_has_a_floor() -> None:
    assert {module.partition(".")[0] for module in MODULES} == set(FLOORS)


def test_no_import_runs_upwards() -> None:
    wrong = [
        str(found)
        for found in all_imports()
        if floor(found.name) > floor(found.module)
        and not (found.typed_only and found.module in NAMED_FOR_TYPES_ALONE)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_files_import_one_another_in_a_circle() -> None:
    below: dict[str, set[str]] = {module: set() for module in MODULES}
    for found in all_imports():
        if not (found.typed_only and found.module in NAMED_FOR_TYPES_ALONE):
            below[found.module].add(found.name)
    while free := [module for module, names in below.items() if not names]:
        for module in free:
            del below[module]
        for names in below.values():
            names.difference_update(free)
    assert not below, f"in a circle, or above one: {sorted(below)}"


def test_hatchet_is_imported_by_its_adapter_only() -> None:
    users = {
        str(path.relative_to(ROOT))
        for path in MODULES.values()
        if "hatchet_sdk" in path.read_text()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom) and "hatchet_sdk" in ast.unparse(node)
    }
    assert all(user.startswith(("hogsend/engine/hatchet", "worker/hatchet")) for user in users), users


def test_what_authors_import_brings_no_server_and_no_library_but_one() -> None:
    """Neither SQLAlchemy nor pydantic, neither Redis nor an SDK: a journey's test starts at once."""
    code = (
        "import sys; before = set(sys.modules)\n"
        "import hogsend, hogsend.testing\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(name for name in new - sys.stdlib_module_names if not name.startswith('_')))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert shown.stdout.strip() == "['hogsend', 'orjson']", shown.stderr


# What the tests share, and what no one room of `hogsend/` answers for.
OF_THE_TESTS = {"clients", "browser", "contract", "faults", "standins", "templates"}


def test_tests_stand_in_the_rooms_of_what_they_test() -> None:
    folders = {
        path.relative_to(ROOT / "tests").parent.parts[0]
        for path in (ROOT / "tests").rglob("test_*.py")
        if path.parent != ROOT / "tests"
    }
    assert folders - OF_THE_TESTS <= set(FLOORS)
