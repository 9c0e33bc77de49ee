"""What a journey's function asks of the machine, and should ask of `ctx`: told at boot, as a warning.

A replay would get another answer, and take another branch. It may be harmless, in a log line say, so that nothing
is refused for it. Only the function itself is looked at: what it gives to `ctx.once` may ask whatever it wants.
"""

from __future__ import annotations

import ast
import asyncio
import datetime
import os
import random
import secrets
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

from hogsend.journeys.definition import Journey
from hogsend.journeys.lint.mistakes import body_of

_NOW = "await ctx.now()"
_SLEEP = "await ctx.sleep(…)"
_CHANCE = "await ctx.variant(…), or ctx.once(…)"
_ONCE = "await ctx.once(…)"
_ONE = "one step at a time, without tasks"

_CLOCKS = (datetime.date, datetime.datetime)

# Of `random`, whatever it has: each of its functions draws.
_INSTEAD: tuple[tuple[object, str], ...] = (
    (datetime.datetime.now, _NOW),
    (datetime.datetime.utcnow, _NOW),
    (datetime.datetime.today, _NOW),
    (datetime.date.today, _NOW),
    (time.time, _NOW),
    (time.monotonic, _NOW),
    (time.perf_counter, _NOW),
    (time.sleep, _SLEEP),
    (asyncio.sleep, _SLEEP),
    (asyncio.gather, _ONE),
    (asyncio.create_task, _ONE),
    (uuid.uuid1, _ONCE),
    (uuid.uuid4, _ONCE),
    (os.urandom, _ONCE),
    *((getattr(random, name), _CHANCE) for name in random.__all__ if not name[0].isupper()),
    *((getattr(secrets, name), _ONCE) for name in secrets.__all__ if not name[0].isupper()),
)


@dataclass(frozen=True)
class NondeterministicCall:
    """One such call: in which journey, on which line of its file, and what to write instead."""

    journey: str
    line: int
    call: str
    instead: str


def nondeterministic_calls(journeys: Iterable[Journey]) -> list[NondeterministicCall]:
    """Every call of these journeys that a replay would see answered otherwise, in their order."""
    return [doubt for journey in journeys for doubt in _of(journey)]


def _of(journey: Journey) -> Iterator[NondeterministicCall]:
    written = body_of(journey)
    if written is None or not isinstance(journey.run, FunctionType):
        return
    tree, first = written
    calls = [node for node in _own_lines(tree.body[0]) if isinstance(node, ast.Call)]
    for node in sorted(calls, key=lambda one: (one.lineno, one.col_offset)):
        if (instead := _instead(_meant(node.func, journey.run))) is not None:
            yield NondeterministicCall(
                journey.id, first + node.lineno - 1, f"{ast.unparse(node.func)}()", instead
            )


def _own_lines(function: ast.stmt) -> Iterator[ast.AST]:
    """The nodes of a function's body, without those of the functions in it."""
    pending: list[ast.AST] = list(getattr(function, "body", []))
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            pending += ast.iter_child_nodes(node)


def _meant(node: ast.expr, function: FunctionType) -> object:
    """What a dotted name stands for where the function was written; of its own variables nothing is known.

    Attributes are only read of modules, and of the classes that know the time: others may run code.
    """
    if isinstance(node, ast.Attribute):
        owner = _meant(node.value, function)
        if isinstance(owner, ModuleType):
            return vars(owner).get(node.attr)
        return getattr(owner, node.attr, None) if any(owner is kind for kind in _CLOCKS) else None
    if not isinstance(node, ast.Name) or node.id in function.__code__.co_varnames:
        return None
    return function.__globals__.get(node.id)


def _instead(meant: object) -> str | None:
    if not isinstance(meant, FunctionType | MethodType | BuiltinFunctionType):
        return None
    return next((instead for known, instead in _INSTEAD if known == meant), None)
