"""What `@journey` refuses when the module is imported, and the sentence that it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hogsend import Context, JourneyError, User, days, event, journey, on, once_per, prop


async def run(user: User, ctx: Context) -> None:
    """Does nothing."""


async def no_context(user: User) -> None:
    """Could take no step."""


def not_async(user: User, ctx: Context) -> None:
    """Could wait for nothing."""


def define(function: Any = run, **given: Any) -> Any:
    return journey(**{"id": "x", "trigger": "start"} | given)(function)


@pytest.mark.parametrize(
    ("mistake", "lesson"),
    [
        (lambda: define(id="Trial Expiring"), "lower-case words joined by hyphens, e.g. 'trial-expiring'"),
        (lambda: define(id=7), "lower-case words"),
        (lambda: define(no_context), "the function takes two arguments"),
        (lambda: define(not_async), "write `async def not_async"),
        (lambda: define(trigger=event("start")), 'names no event; write "user.signed_up"'),
        (lambda: define(trigger=prop("plan") == "pro"), "names no event"),
        (lambda: define(exit_on=["left", event("paid")]), "exit_on=.*names no event"),
        (lambda: define(entry="twice"), r"entry is 'once', 'unlimited' or once_per\(days\(30\)\)"),
        (lambda: once_per(30), "must be longer than zero"),  # type: ignore[arg-type]
        (lambda: define(suppress=7), r"no length of time, e.g. suppress=days\(7\)"),
        (lambda: define(suppress=days(0)), "no length of time"),
    ],
)
def test_a_definition_that_cannot_be_meant(mistake: Callable[[], object], lesson: str) -> None:
    with pytest.raises(JourneyError, match=lesson):
        mistake()


def test_exits_are_one_or_several() -> None:
    assert [one.event for one in define(exit_on="left").exit_on] == ["left"]
    assert [one.event for one in define(exit_on=on("left")).exit_on] == ["left"]
    assert [one.event for one in define(exit_on=["left", on("paid")]).exit_on] == ["left", "paid"]
