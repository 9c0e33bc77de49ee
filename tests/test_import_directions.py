"""Imports run one way: rest → graphql → a feature's schema → its actions and queries → tables → storage."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

FEATURES = {
    "access",
    "alerts",
    "analytics",
    "contacts",
    "deadletters",
    "decisions",
    "emails",
    "events",
    "journeys",
    "metrics",
}
EDGES = {"rest", "graphql", "cli", "app", "boot", "worker"}


def forbidden(module: str) -> set[str]:
    """The parts of Hogsend that `module` may not import."""
    part, *rest = module.split(".")
    if part == "storage":
        return FEATURES | EDGES | {"engine", "realtime", "runtime"}
    if part in ("engine", "realtime"):
        return FEATURES | EDGES
    if part in FEATURES:
        # These are the feature's face to GraphQL; the rest of a feature does not know that GraphQL exists.
        return EDGES - {"graphql"} if rest[:1] in (["schema"], ["mutations"], ["subscriptions"]) else EDGES
    if part == "graphql":
        return {"rest", "cli", "app", "boot", "worker"}
    if part == "rest":
        return {"cli", "app", "boot", "worker"}
    if part in ("app", "boot", "worker"):
        return {"cli"}
    if part in ("settings", "clock", "errors", "logs"):
        return FEATURES | EDGES | {"engine", "realtime", "storage", "runtime"}
    return set()


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Each imported name of ours, as (line, dotted path without `hogsend`); those for types alone are left out."""
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        pending.extend(ast.iter_child_nodes(node))
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            first, _, rest = name.partition(".")
            if first == "worker":
                yield node.lineno, name
            elif first == "hogsend" and rest:
                yield node.lineno, rest


def modules() -> Iterator[tuple[str, Path]]:
    for base in (ROOT / "hogsend", ROOT / "worker"):
        for path in base.rglob("*.py"):
            relative = path.relative_to(ROOT).with_suffix("")
            parts = relative.parts[1:] if relative.parts[0] == "hogsend" else relative.parts
            yield ".".join(parts), path


def test_imports_run_one_way() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for module, path in modules()
        for line, name in imports(path)
        if name.split(".")[0] in forbidden(module)
    ]
    assert not wrong, "\n".join(wrong)


def test_tables_stand_on_storage_alone() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for module, path in modules()
        if module.split(".")[0] in FEATURES and module.endswith(".tables")
        for line, name in imports(path)
        if name.split(".")[0] not in ("storage", "settings") and ".tables" not in f"{name}."
    ]
    assert not wrong, "\n".join(wrong)


def test_hatchet_is_imported_by_its_adapter_only() -> None:
    users = {
        str(path.relative_to(ROOT))
        for _, path in modules()
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
