"""What a journey is: the decorator that authors use, and the definition that it makes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from hogsend.journeys.conditions.builders import Trigger, on
from hogsend.journeys.errors import JourneyError
from hogsend.journeys.source.fingerprint import version_of

if TYPE_CHECKING:
    from hogsend.journeys.context import Context
    from hogsend.journeys.steps.step_results import User

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
    """At most one entry in any `period`, counted from the last entry. Raises `JourneyError` for a period of nothing."""
    if not isinstance(period, timedelta) or period <= timedelta(0):
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
        """What ends a run of this journey when `event` happens; conditions are not asked here."""
        return tuple(trigger for trigger in self.exit_on if trigger.event == event)


def journey(
    *,
    id: str,
    trigger: Trigger | str,
    name: str | None = None,
    description: str | None = None,
    entry: Entry | Literal["once", "unlimited"] = once,
    exit_on: Iterable[Trigger | str] | Trigger | str = (),
    suppress: timedelta | None = None,
    category: str | None = None,
    enabled: bool = True,
) -> Callable[[JourneyFunction], Journey]:
    """Make an async function `(user, ctx)` a journey. The name of the function is then a `Journey`, to be rehearsed.

    `id` is for ever: it is on every record. `trigger` is the event that starts it, `"user.signed_up"` or
    `on("user.signed_up", where=…)`. `name` and `description` are for people; by default the id, and the function's
    docstring. `entry` is `once` (the default), `unlimited` or `once_per(days(30))`. `exit_on` lists events that end a
    run wherever it is. `suppress` keeps out whoever this journey wrote to within that time. `category` is the
    preference category of its emails, where a send names none; without it, the template's. `enabled=False` lands it
    switched off.

    Raises `JourneyError` for what can be seen to be wrong right here; the rest is checked when a process starts.
    """
    if not isinstance(id, str) or not _ID.fullmatch(id):
        raise JourneyError(
            f"journey id {id!r}: use lower-case words joined by hyphens, e.g. 'trial-expiring'"
        )
    started_by = _trigger(id, "trigger", trigger)
    given = exit_on if isinstance(exit_on, Iterable) and not isinstance(exit_on, str) else (exit_on,)
    exits = tuple(_trigger(id, "exit_on", item) for item in given)
    if suppress is not None and (not isinstance(suppress, timedelta) or suppress <= timedelta(0)):
        raise JourneyError(
            f"journey {id!r}: suppress={suppress!r} is no length of time, e.g. suppress=days(7)"
        )

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
            trigger=started_by,
            entry=_entry(id, entry),
            exit_on=exits,
            suppress=suppress,
            category=category,
            enabled=enabled,
            run=function,
            version=version_of(function),
        )

    return define


def _trigger(id: str, argument: str, value: object) -> Trigger:
    if isinstance(value, Trigger):
        return value
    if isinstance(value, str):
        return on(value)
    raise JourneyError(
        f'journey {id!r}: {argument}={value!r} names no event; write "user.signed_up" or on("user.signed_up", where=…)'
    )


def _entry(id: str, entry: object) -> Entry:
    match entry:
        case Entry():
            return entry
        case "once":
            return once
        case "unlimited":
            return unlimited
    raise JourneyError(f"journey {id!r}: entry is 'once', 'unlimited' or once_per(days(30)), not {entry!r}")
