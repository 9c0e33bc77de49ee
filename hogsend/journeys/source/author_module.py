"""The author's modules as they are written: what each defines and imports. Read from the files; nothing is imported."""

from __future__ import annotations

import ast
import inspect
import sys
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path, PurePath
from types import ModuleType

_INSTALLED = frozenset({"site-packages", "dist-packages"})
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Source:
    """One module. `imports` gives the dotted path that each imported name stands for; `stars` those imported whole."""

    package: str
    tree: ast.Module
    defines: Mapping[str, Sequence[ast.stmt]]
    imports: Mapping[str, str]
    stars: Sequence[str]


def source_of(module: str) -> Source | None:
    """The module of that dotted name, imported already or not; None where it cannot be found or read."""
    text = _text_of(module)
    if text is None:
        return None
    try:
        return _parsed(text, _package(module))
    except SyntaxError:
        return None


def is_own(module: str, home: str) -> bool:
    """Whether the author of `home` wrote that module too.

    They wrote what is in the same top-level package, and whatever else is neither installed nor Python's nor Hogsend's.
    """
    top = module.partition(".")[0]
    if module == home or (top == home.partition(".")[0] and top != "hogsend"):
        return True
    if top == "hogsend" or top in sys.stdlib_module_names:
        return False
    spec = _spec_of(module)
    if spec is None:
        return False
    places = [spec.origin] if spec.has_location else list(spec.submodule_search_locations or ())
    return any(place and not _INSTALLED & set(PurePath(place).parts) for place in places)


def exists(module: str) -> bool:
    """Whether there is a module or a package of that name, with a source or without."""
    return _spec_of(module) is not None


def imported(nodes: Iterable[ast.AST], package: str) -> dict[str, str]:
    """The dotted path that each name stands for which these nodes of a module in `package` import, stars apart."""
    found: dict[str, str] = {}
    for node in nodes:
        match node:
            case ast.Import():
                for alias in node.names:
                    found[alias.asname or alias.name.partition(".")[0]] = (
                        alias.name if alias.asname else alias.name.partition(".")[0]
                    )
            case ast.ImportFrom():
                base = _absolute(node, package)
                found |= {alias.asname or alias.name: f"{base}.{alias.name}" for alias in node.names}
    found.pop("*", None)
    return found


@lru_cache(maxsize=64)
def _parsed(text: str, package: str) -> Source:
    """Kept, since many journeys share their modules."""
    tree = ast.parse(text)
    defines: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for name in set(_defined(statement)):
            defines.setdefault(name, []).append(statement)
    nodes = list(_of_the_module(tree))
    stars = [
        _absolute(node, package)
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*"
    ]
    return Source(package, tree, defines, imported(nodes, package), stars)


def _defined(statement: ast.stmt) -> Iterator[str]:
    """The names that a top-level statement gives a meaning, or may change what they hold."""
    for node in [statement] if isinstance(statement, _Definition) else ast.walk(statement):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Name(ctx=ast.Store()):
                yield node.id
            case ast.Expr() | ast.Subscript(ctx=ast.Store()) | ast.Attribute(ctx=ast.Store()):
                yield from (inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))


def _of_the_module(tree: ast.Module) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported: not those inside of functions and classes."""
    pending: list[ast.AST] = [*reversed(tree.body)]
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, _Definition):
            pending += [*ast.iter_child_nodes(node)][::-1]


def _absolute(node: ast.ImportFrom, package: str) -> str:
    base = package
    for _ in range(node.level - 1):
        base = base.rpartition(".")[0]
    return node.module or "" if node.level == 0 else ".".join(part for part in (base, node.module) if part)


def _package(module: str) -> str:
    spec = _spec_of(module)
    is_package = spec is not None and spec.submodule_search_locations is not None
    return module if is_package else module.rpartition(".")[0]


def _text_of(module: str) -> str | None:
    spec = _spec_of(module)
    try:
        if spec is not None and spec.has_location and Path(spec.origin or "").suffix == ".py":
            with tokenize.open(spec.origin or "") as file:
                return file.read()
        if spec is not None and (read := getattr(spec.loader, "get_source", None)) is not None:
            archived: str | None = read(module)
            return archived
        return inspect.getsource(sys.modules[module])
    except (ImportError, KeyError, OSError, SyntaxError, TypeError, UnicodeError):
        return None


def _spec_of(module: str) -> ModuleSpec | None:
    """As the import system would find it, without importing it or the packages above it."""
    loaded = sys.modules.get(module)
    if isinstance(loaded, ModuleType):
        return loaded.__spec__
    above = module.rpartition(".")[0]
    path = None
    if above:
        package = _spec_of(above)
        if package is None or package.submodule_search_locations is None:
            return None
        path = list(package.submodule_search_locations)
    found = (finder.find_spec(module, path) for finder in sys.meta_path)
    return next((spec for spec in found if spec is not None), None)
