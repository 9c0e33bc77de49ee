"""What happens to the person while the journey runs, written down before it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from hogsend.journeys.conditions import on
from hogsend.journeys.errors import JourneyError

_NOW = timedelta(0)


@dataclass(frozen=True)
class EventHappens:
    """The person does something, `at` that long after the start; before it where that is negative."""

    at: timedelta
    event: str
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PropertiesChange:
    """The contact's properties change; None removes one."""

    at: timedelta
    properties: Mapping[str, Any]


@dataclass(frozen=True)
class Unsubscribes:
    """The person no longer wants emails of that category, or any."""

    at: timedelta
    category: str | None


@dataclass(frozen=True)
class Engages:
    """The person opens or clicks emails from that template, so long after each is sent."""

    template: str
    what: Literal["opened", "clicked"]
    delay: timedelta


@dataclass(frozen=True)
class PastRun:
    """The person was in that journey before: entered `ago`, and now in that status."""

    journey_id: str
    ago: timedelta
    status: Literal["completed", "exited", "failed", "active"] = "completed"


Timed = EventHappens | PropertiesChange | Unsubscribes
Happening = Timed | Engages | PastRun


def after(delay: timedelta, event: str, properties: Mapping[str, Any] | None = None) -> EventHappens:
    """`event` happens that long after the start."""
    return EventHappens(_forward("after", delay), on(event).event, dict(properties or {}))


def before(ago: timedelta, event: str, properties: Mapping[str, Any] | None = None) -> EventHappens:
    """`event` happened that long before the start."""
    if ago <= _NOW:
        raise JourneyError(f"before({ago!r}, …): give a length of time above zero, e.g. days(3)")
    return EventHappens(-ago, on(event).event, dict(properties or {}))


def updated(delay: timedelta, properties: Mapping[str, Any]) -> PropertiesChange:
    """The contact's properties change that long after the start; None removes one."""
    return PropertiesChange(_forward("updated", delay), dict(properties))


def unsubscribed(delay: timedelta, category: str | None = None) -> Unsubscribes:
    """The person unsubscribes that long after the start, from `category` or from everything."""
    return Unsubscribes(_forward("unsubscribed", delay), category)


def opened(template: str, delay: timedelta = timedelta(minutes=5)) -> Engages:
    """The person opens every email from `template`, that long after it is sent."""
    return Engages(template, "opened", _forward("opened", delay))


def clicked(template: str, delay: timedelta = timedelta(minutes=5)) -> Engages:
    """The person clicks a link in every email from `template`, that long after it is sent."""
    return Engages(template, "clicked", _forward("clicked", delay))


def _forward(name: str, delay: timedelta) -> timedelta:
    if not isinstance(delay, timedelta) or delay < _NOW:
        raise JourneyError(f"{name}({delay!r}, …): give a length of time, e.g. days(3)")
    return delay
