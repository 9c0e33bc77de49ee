"""A hash of a journey's code: its function, and what it refers to of what its author wrote."""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from types import CodeType, FunctionType
from typing import Any

from hogsend.journeys.source.author_module import Source, exists, imported, is_own, source_of

LENGTH = 12
_PLAIN = (str, int, float, bool, type(None), timedelta)
_WHOLE = "*"


def version_of(function: Callable[..., Any]) -> str:
    """12 hex digits that change when what the function does may have changed, and not when it is reformatted.

    Covered are the function with its decorators, the functions, classes and constants that it reaches by name in its
    own module and in others of the same author, and plain values that it closes over. It is read from the sources, so
    that it is the same in every process and whatever was imported first.
    """
    reach = _Reach(function.__module__)
    parts: list[str] = []
    for name, value in _closed_over(function):
        if isinstance(value, _PLAIN):
            parts.append(f"{name} = {value!r}")
        elif isinstance(value, FunctionType) and (tree := _tree(value)) is not None:
            parts.append(_shape(tree))
            reach.follow(value.__module__, tree)
    tree = _tree(function)
    if tree is None:
        parts.append(_compiled(function.__code__))
    else:
        parts.append(_shape(tree))
        reach.follow(function.__module__, tree)
    parts += reach.found()
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:LENGTH]


def _tree(function: Callable[..., Any]) -> ast.stmt | None:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, SyntaxError, TypeError):
        return None  # Made in a shell, or by exec: there is no source to look at.


def _closed_over(function: Callable[..., Any]) -> Iterator[tuple[str, object]]:
    """What a function that another one made was made with."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:
            continue  # Assigned later, e.g. the function's own name.


class _Reach:
    """What code reaches by name, however far, in its own module `home` and in the author's others."""

    def __init__(self, home: str) -> None:
        self._home = home
        self._sources: dict[str, Source | None] = {}
        self._found: dict[tuple[str, str], str] = {}
        self._seen: set[tuple[str, tuple[str, ...]]] = set()
        self._pending: list[tuple[str, ast.AST]] = []

    def found(self) -> list[str]:
        """The statements, in one order. Those of another module are told by its name: two may define one name."""
        return [
            text if module == self._home else f"{module}.{name}\n{text}"
            for (module, name), text in sorted(self._found.items())
        ]

    def follow(self, module: str, tree: ast.AST) -> None:
        """Take in what `tree`, a piece of `module`, refers to."""
        self._pending.append((module, tree))
        while self._pending:
            module, tree = self._pending.pop()
            source = self._source(module)
            if source is None:
                continue
            inner = imported(ast.walk(tree), source.package)
            for name, *attributes in _dotted(tree):
                if name in inner:
                    self._enter("", [*inner[name].split("."), *attributes])
                self._look_up(module, [name, *attributes])

    def _look_up(self, module: str, path: list[str]) -> None:
        """Take in what the name `path[0]` means in that module."""
        source = self._source(module)
        if source is None or (module, tuple(path)) in self._seen:
            return
        self._seen.add((module, tuple(path)))
        name, *attributes = path
        target = source.imports.get(name)
        if name in source.defines:
            self._take(module, name, source.defines[name])
        if target == f"{module}.{name}":
            self._enter(target, attributes)
        elif target is not None:
            self._enter("", [*target.split("."), *attributes])
        elif name not in source.defines:
            for star in source.stars:
                if is_own(star, self._home):
                    self._look_up(star, path)

    def _enter(self, module: str, path: list[str]) -> None:
        """Take in what the dotted `path` means, seen from the module, or from above all modules where that is empty."""
        if module and not is_own(module, self._home):
            return
        if not path:
            # Handed on as it is, so that anything in it may be used.
            source = self._source(module)
            if source is not None:
                self._take(module, _WHOLE, [one for one in source.tree.body if not _is_text(one)])
        elif module and self._means_something(module, path[0]):
            self._look_up(module, path)
        elif not module:
            self._enter(path[0], path[1:])
        elif exists(f"{module}.{path[0]}"):
            self._enter(f"{module}.{path[0]}", path[1:])

    def _means_something(self, module: str, name: str, *seen: str) -> bool:
        """Whether the module itself gives the name a meaning: else it may be a module below."""
        source = self._source(module)
        if source is None or module in seen:
            return False
        target = source.imports.get(name)
        if name in source.defines or (target is not None and target != f"{module}.{name}"):
            return True
        return any(self._means_something(star, name, module, *seen) for star in source.stars)

    def _take(self, module: str, name: str, statements: Sequence[ast.stmt]) -> None:
        if (module, name) not in self._found:
            self._found[module, name] = "\n".join(_shape(statement) for statement in statements)
            self._pending += [(module, statement) for statement in statements]

    def _source(self, module: str) -> Source | None:
        if module not in self._sources:
            self._sources[module] = source_of(module)
        return self._sources[module]


def _dotted(tree: ast.AST) -> Iterator[list[str]]:
    """Every name in `tree` with what is asked of it: `a.b.c` once, as a, b, c."""
    pending = [tree]
    while pending:
        node = pending.pop()
        path: list[str] = []
        while isinstance(node, ast.Attribute):
            path.insert(0, node.attr)
            node = node.value
        if isinstance(node, ast.Name):
            yield [node.id, *path]
        else:
            pending += ast.iter_child_nodes(node)


def _shape(tree: ast.AST) -> str:
    """The code without comments, docstrings and layout."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and any(map(_is_text, body)):
            node.body = [one for one in body if not _is_text(one)] or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.unparse(tree)


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _compiled(code: CodeType) -> str:
    return f"{code.co_code.hex()} {code.co_names} {[_constant(one) for one in code.co_consts]}"


def _constant(value: object) -> str:
    if isinstance(value, CodeType):
        return _compiled(value)
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)
