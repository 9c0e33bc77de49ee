"""What a journey is: the decorator that authors use, and the definition that it makes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from hogsend.journeys.code import version_of
from hogsend.journeys.conditions import Trigger, on
from hogsend.journeys.errors import JourneyError

if TYPE_CHECKING:
    from hogsend.journeys.context import Context
    from hogsend.journeys.values import User

EntryLimit = Literal["once", "once_per_period", "unlimited"]
JourneyFunction = Callable[["User", "Context"], Awaitable[object]]
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Entry:
    """How often one person may enter."""

    limit: EntryLimit
    period: timedelta | None = None


once = Entry("once")
unlimited = Entry("unlimited")


def once_per(period: timedelta) -> Entry:
    """At most one entry in any `period`, counted from the last entry."""
    if period <= timedelta(0):
        raise JourneyError("once_per(period): the period must be longer than zero, e.g. once_per(days(30))")
    return Entry("once_per_period", period)


@dataclass(frozen=True)
class Journey:
    """One journey. `version` changes when what the function does may have changed; not when it is reformatted."""

    id: str
    name: str
    description: str | None
    trigger: Trigger
    entry: Entry
    exit_on: tuple[Trigger, ...]
    suppress: timedelta | None
    category: str | None
    enabled: bool
    run: JourneyFunction
    version: str

    def exits_on(self, event: str) -> tuple[Trigger, ...]:
        return tuple(trigger for trigger in self.exit_on if trigger.event == event)


def journey(
    *,
    id: str,
    trigger: Trigger | str,
    name: str | None = None,
    description: str | None = None,
    entry: Entry | Literal["once", "unlimited"] = once,
    exit_on: Sequence[Trigger | str] | Trigger | str = (),
    suppress: timedelta | None = None,
    category: str | None = None,
    enabled: bool = True,
) -> Callable[[JourneyFunction], Journey]:
    """Make an async function `(user, ctx)` a journey.

    `entry` is `once` (the default), `unlimited` or `once_per(days(30))`. `exit_on` lists events that end a run
    wherever it is. `suppress` keeps out whoever this journey wrote to within that time. `category` is the
    preference category of its emails. Raises `JourneyError` for what can be seen to be wrong right here.
    """
    if not _ID.fullmatch(id):
        raise JourneyError(
            f"journey id {id!r}: use lower-case words joined by hyphens, e.g. 'trial-expiring'"
        )
    exits = (exit_on,) if isinstance(exit_on, Trigger | str) else tuple(exit_on)

    def define(function: JourneyFunction) -> Journey:
        if not inspect.iscoroutinefunction(function):
            raise JourneyError(
                f"journey {id!r}: write `async def {getattr(function, '__name__', 'run')}(user, ctx)`"
            )
        if len(inspect.signature(function).parameters) != 2:
            raise JourneyError(f"journey {id!r}: the function takes two arguments, `(user, ctx)`")
        return Journey(
            id=id,
            name=name or id.replace("-", " ").capitalize(),
            description=description or inspect.getdoc(function),
            trigger=on(trigger) if isinstance(trigger, str) else trigger,
            entry=_entry(id, entry),
            exit_on=tuple(on(item) if isinstance(item, str) else item for item in exits),
            suppress=suppress,
            category=category,
            enabled=enabled,
            run=function,
            version=version_of(function),
        )

    return define


def _entry(id: str, entry: object) -> Entry:
    match entry:
        case Entry():
            return entry
        case "once":
            return once
        case "unlimited":
            return unlimited
    raise JourneyError(f"journey {id!r}: entry is 'once', 'unlimited' or once_per(days(30)), not {entry!r}")
