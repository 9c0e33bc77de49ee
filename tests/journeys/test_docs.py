"""`docs/journeys.md` holds everything that authors can write, and what it shows is Python."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import hogsend
import hogsend.testing
from hogsend.journeys import schedule as when
from hogsend.journeys.conditions.builders import EmailHistory, EventHistory, Property
from hogsend.journeys.context import Context
from hogsend.journeys.definition import journey
from hogsend.journeys.history import Guards, History

PAGE = (Path(__file__).parents[2] / "docs" / "journeys.md").read_text(encoding="utf-8")
INNER = {"Context.check_awaited", "Context.answer", "Context.step"}


def public(kind: type) -> list[str]:
    return [
        f"{kind.__name__}.{name}"
        for name, _ in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") and f"{kind.__name__}.{name}" not in INNER
    ]


@pytest.mark.parametrize("name", sorted(set(hogsend.__all__) - {"Journey"}))
def test_every_name_that_authors_import_is_on_the_page(name: str) -> None:
    assert re.search(rf"\b{name}\b", PAGE)


@pytest.mark.parametrize("name", sorted(set(hogsend.testing.__all__) - {"Rehearsal", "SentEmail"}))
def test_every_name_of_the_testing_kit_is_on_the_page(name: str) -> None:
    assert re.search(rf"\b{name}\b", PAGE)


@pytest.mark.parametrize(
    "method",
    [m for kind in (Context, History, Guards, Property, EventHistory, EmailHistory) for m in public(kind)],
)
def test_every_method_is_on_the_page(method: str) -> None:
    assert f".{method.split('.')[1]}(" in PAGE


@pytest.mark.parametrize("name", ["next", "tomorrow", "in_days", "window"])
def test_every_moment_is_on_the_page(name: str) -> None:
    assert hasattr(when, name)
    assert f"when.{name}(" in PAGE


@pytest.mark.parametrize("argument", list(inspect.signature(journey).parameters))
def test_every_argument_of_the_definition_is_on_the_page(argument: str) -> None:
    assert re.search(rf"^\|.*`{argument}`.*\|", PAGE, re.MULTILINE)


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
def test_every_block_is_python_and_its_tests_pass(block: str) -> None:
    code = compile(block, "docs/journeys.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:
        return  # Lines from the inside of a journey.
    names: dict[str, object] = {}
    exec(code, names)
    for name, value in names.items():
        if name.startswith("test_") and callable(value):
            value()
