"""A hash of a journey's code: its function, and what it refers to in its own module."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

LENGTH = 12
_PLAIN = (str, int, float, bool, type(None), timedelta)
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def version_of(function: Callable[..., Any]) -> str:
    """12 hex digits that change when what the function does may have changed, and not when it is reformatted.

    Covered are the function with its decorators, the functions, classes and constants of its module that it names,
    what those name in turn, and plain values that it closes over. What it imports from elsewhere is not.
    """
    parts = [*_closed_over(function)]
    tree = _tree(function)
    if tree is None:
        parts.append(_compiled(function.__code__))
    else:
        parts.append(_shape(tree))
        parts += _referred_to(tree, _module_parts(function.__module__))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:LENGTH]


def _tree(function: Callable[..., Any]) -> ast.stmt | None:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, SyntaxError, TypeError):
        return None  # Made in a shell, or by exec: there is no source to look at.


def _closed_over(function: Callable[..., Any]) -> Iterator[str]:
    """What a function that another one made was made with."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:
            continue  # Assigned later, e.g. the function's own name.
        if isinstance(value, _PLAIN):
            yield f"{name} = {value!r}"
        elif isinstance(value, FunctionType) and (tree := _tree(value)) is not None:
            yield _shape(tree)


def _referred_to(tree: ast.AST, known: Mapping[str, Sequence[ast.stmt]]) -> list[str]:
    """The module's own statements that `tree` reaches by name, however far, in one order."""
    found: dict[str, str] = {}
    pending: list[ast.AST] = [tree]
    while pending:
        for node in ast.walk(pending.pop()):
            if isinstance(node, ast.Name) and node.id in known and node.id not in found:
                statements = known[node.id]
                found[node.id] = "\n".join(_shape(statement) for statement in statements)
                pending += statements
    return [found[name] for name in sorted(found)]


def _module_parts(module: str) -> Mapping[str, Sequence[ast.stmt]]:
    try:
        return _parts(inspect.getsource(sys.modules[module]))
    except (KeyError, OSError, SyntaxError, TypeError):
        return {}


@lru_cache(maxsize=8)
def _parts(source: str) -> Mapping[str, Sequence[ast.stmt]]:
    """The top-level statements that define each name, imports apart. Kept for the module's next journey."""
    parts: dict[str, list[ast.stmt]] = {}
    for statement in ast.parse(source).body:
        for name in set(_defined(statement)):
            parts.setdefault(name, []).append(statement)
    return parts


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


def _shape(tree: ast.AST) -> str:
    """The code without comments, docstrings and layout."""
    for node in ast.walk(tree):
        if isinstance(node, _Definition) and _is_text(node.body[0]):
            node.body = node.body[1:] or [ast.Pass()]
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
