"""Mistakes that can be seen in a journey's code and in nothing else: told at boot, before anybody is in it."""

from __future__ import annotations

import ast
import difflib
import inspect
import textwrap
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from hogsend.journeys import durations
from hogsend.journeys.conditions.tree import EmailTest
from hogsend.journeys.context import LONGEST_WAIT, Context
from hogsend.journeys.definition import Journey
from hogsend.journeys.history import Guards, History
from hogsend.journeys.steps.pending_step import is_step
from hogsend.settings import SettingsError

_SPANS: dict[str, Callable[[float], timedelta]] = {
    "days": durations.days,
    "hours": durations.hours,
    "minutes": durations.minutes,
    "seconds": durations.seconds,
}


# What has steps, and the steps, as authors write them behind `ctx.`.
_OWNERS = {"": Context, "history": History, "guard": Guards}
STEPS = frozenset(
    f"{owner}.{name}".lstrip(".")
    for owner, kind in _OWNERS.items()
    for name, method in vars(kind).items()
    if is_step(method)
)
# Where a step stands that is used in place of its answer. Elsewhere it may yet be awaited.
_USES = (
    ast.Expr,
    ast.If,
    ast.While,
    ast.IfExp,
    ast.BoolOp,
    ast.UnaryOp,
    ast.BinOp,
    ast.Compare,
    ast.Attribute,
    ast.Subscript,
    ast.FormattedValue,
    ast.For,
)
_TASKS = frozenset({"gather", "create_task", "ensure_future", "as_completed"})


class JourneysError(SettingsError):
    """Journeys that cannot be run as they are. `problems` holds one sentence each."""

    heading = "These journeys cannot be run:"


@dataclass(frozen=True)
class _Call:
    """One `ctx.…(…)` in the code; `method` is dotted: `history.email`."""

    method: str
    node: ast.Call
    parent: ast.AST
    line: int

    def text(self, position: int | None, name: str) -> str | None:
        """An argument, where it is written out as a text."""
        node = self.argument(position, name)
        return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None

    def argument(self, position: int | None, name: str) -> ast.expr | None:
        for keyword in self.node.keywords:
            if keyword.arg == name:
                return keyword.value
        if position is not None and position < len(self.node.args):
            return self.node.args[position]
        return None


def check(journeys: Iterable[Journey], templates: Collection[str]) -> None:
    """Look at every journey. Raises `JourneysError` with all that is wrong. What is computed cannot be seen here."""
    problems = [
        f"journey {journey.id!r}{place}: {problem}"
        for journey in journeys
        for place, problem in _problems(journey, templates)
    ]
    if problems:
        raise JourneysError(problems)


def _problems(journey: Journey, templates: Collection[str]) -> Iterator[tuple[str, str]]:
    for key in _asked_about(journey):
        if key not in templates:
            yield "", f"its conditions ask about {_unknown(key, templates)}"
    calls = sorted(_calls(journey), key=lambda call: (call.line, call.node.col_offset))
    unconditional = {trigger.event for trigger in journey.exit_on if trigger.where is None}
    for call in calls:
        place = f" (line {call.line})"
        if (misused := _misused(call)) is not None:
            yield place, misused
        template = call.text(0, "template") if call.method in ("send", "history.email") else None
        if template is not None and template not in templates:
            yield place, f"ctx.{call.method} names {_unknown(template, templates)}"
        event = call.text(0, "event") if call.method in ("wait_for_event", "digest") else None
        if event in unconditional:
            yield (
                place,
                f"{event} is in exit_on, so the run ends before ctx.{call.method} can see it: drop one of the two",
            )
        if (span := _too_long(call)) is not None:
            yield (
                place,
                f"{span} is longer than a step may wait ({LONGEST_WAIT.days} days): split it into steps",
            )
    for (method, label), count in Counter((c.method, c.text(None, "label")) for c in calls).items():
        if label is not None and count > 1:
            yield "", f"the label {label!r} is on {count} ctx.{method} steps: give each its own"


def _asked_about(journey: Journey) -> list[str]:
    conditions = [t.where for t in (journey.trigger, *journey.exit_on) if t.where is not None]
    return [leaf.template for one in conditions for leaf in one.leaves() if isinstance(leaf, EmailTest)]


def _unknown(key: str, templates: Collection[str]) -> str:
    near = difflib.get_close_matches(key, templates, n=2)
    return f"the template {key!r}, which does not exist" + (
        f"; did you mean {' or '.join(near)}?" if near else ""
    )


def _too_long(call: _Call) -> str | None:
    """The span of a wait, where it is written out as `days(400)` and is too long."""
    node = {
        "sleep": call.argument(0, "duration"),
        "wait_for_event": call.argument(None, "timeout"),
        "digest": call.argument(None, "window"),
    }.get(call.method)
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 1):
        return None
    count = node.args[0]
    span = _SPANS.get(node.func.id)
    if span is None or not (isinstance(count, ast.Constant) and isinstance(count.value, int | float)):
        return None
    return ast.unparse(node) if span(count.value) > LONGEST_WAIT else None


def _misused(call: _Call) -> str | None:
    """What is wrong with how a step is called, whatever the step."""
    owner, _, name = call.method.rpartition(".")
    if owner in _OWNERS and not hasattr(_OWNERS[owner], name):
        near = difflib.get_close_matches(call.method, STEPS, n=1)
        return f"there is no ctx.{call.method}" + (f"; did you mean ctx.{near[0]}?" if near else "")
    if call.method not in STEPS:
        return None
    if isinstance(call.parent, ast.Call) and _name(call.parent.func) in _TASKS:
        return (
            f"ctx.{call.method} is handed to {ast.unparse(call.parent.func)}: await one step at a time, so that "
            "the steps are in the same order when the function is replayed"
        )
    if isinstance(call.parent, _USES):
        return f"ctx.{call.method} is called without await, so nothing happens: write `await ctx.{call.method}(…)`"
    return None


def _name(node: ast.expr) -> str | None:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None


def _calls(journey: Journey) -> Iterator[_Call]:
    written = body_of(journey)
    if written is None:
        return
    tree, first = written
    context = list(inspect.signature(journey.run).parameters)[1]
    for parent in ast.walk(tree):
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, ast.Call) and (method := _method(node.func, context)) is not None:
                yield _Call(method, node, parent, first + node.lineno - 1)


def body_of(journey: Journey) -> tuple[ast.Module, int] | None:
    """The source of a journey's function and the line that it begins on; None where there is no source to look at."""
    try:
        lines, first = inspect.getsourcelines(journey.run)
        return ast.parse(textwrap.dedent("".join(lines))), first
    except (OSError, SyntaxError, TypeError):
        return None  # Made in a shell or by another function.


def _method(node: ast.expr, context: str) -> str | None:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return ".".join(names) if isinstance(node, ast.Name) and node.id == context and names else None
