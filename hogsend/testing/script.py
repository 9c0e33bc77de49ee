"""Script of a rehearsal: what happens to the person while the journey runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from hogsend.journeys.conditions.builders import on
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
    """Emails from that template are opened or clicked, bounce or are complained of, so long after each is sent."""

    template: str
    what: Literal["opened", "clicked", "bounced", "complained"]
    delay: timedelta


@dataclass(frozen=True)
class ProviderRefuses:
    """The provider refuses emails from that template for good: the first `times`, or all where that is None."""

    template: str
    times: int | None


@dataclass(frozen=True)
class Outage:
    """The provider takes nothing from `at` after the start, for so long."""

    at: timedelta
    lasting: timedelta


@dataclass(frozen=True)
class PastRun:
    """The person was in that journey before: entered `ago`, and now in that status."""

    journey_id: str
    ago: timedelta
    status: Literal["completed", "exited", "failed", "active"] = "completed"


@dataclass(frozen=True)
class PastEmail:
    """The person was sent an email from that template so long `ago`, and `did` with it what is listed, then.

    `journey_id` names the journey that sent it; None for one that no journey sent.
    """

    template: str
    ago: timedelta
    did: Collection[Literal["opened", "clicked", "bounced", "complained"]] = ()
    journey_id: str | None = None

    def __post_init__(self) -> None:
        _past(f"PastEmail({self.template!r}, ago=…)", self.ago)
        if unknown := set(self.did) - {"opened", "clicked", "bounced", "complained"}:
            raise JourneyError(
                f"PastEmail({self.template!r}, did=…) has {', '.join(sorted(unknown))}: it is a list of opened, "
                "clicked, bounced and complained"
            )


Timed = EventHappens | PropertiesChange | Unsubscribes
Happening = Timed | Engages | ProviderRefuses | Outage | PastRun | PastEmail


def after(delay: timedelta, event: str, properties: Mapping[str, Any] | None = None) -> EventHappens:
    """`event` happens that long after the start."""
    return EventHappens(_forward("after", delay), on(event).event, dict(properties or {}))


def before(ago: timedelta, event: str, properties: Mapping[str, Any] | None = None) -> EventHappens:
    """`event` happened that long before the start."""
    return EventHappens(-_past(f"before({ago!r}, …)", ago), on(event).event, dict(properties or {}))


def updated(delay: timedelta, properties: Mapping[str, Any]) -> PropertiesChange:
    """The contact's properties change that long after the start; None removes one. At zero, they began so."""
    return PropertiesChange(_forward("updated", delay), dict(properties))


def unsubscribed(delay: timedelta, category: str | None = None) -> Unsubscribes:
    """The person unsubscribes that long after the start, from `category` or from everything. At zero, they had."""
    return Unsubscribes(_forward("unsubscribed", delay), category)


def opened(template: str, delay: timedelta = timedelta(minutes=5)) -> Engages:
    """The person opens every email from `template`, that long after it is sent."""
    return Engages(template, "opened", _forward("opened", delay))


def clicked(template: str, delay: timedelta = timedelta(minutes=5)) -> Engages:
    """The person clicks a link in every email from `template`, that long after it is sent."""
    return Engages(template, "clicked", _forward("clicked", delay))


def bounced(template: str, delay: timedelta = timedelta(minutes=5)) -> Engages:
    """Every email from `template` comes back for good, that long after it is sent: nothing is sent there any more."""
    return Engages(template, "bounced", _forward("bounced", delay))


def complained(template: str, delay: timedelta = timedelta(minutes=5)) -> Engages:
    """The person reports every email from `template` as spam, that long after it is sent: nothing more is sent."""
    return Engages(template, "complained", _forward("complained", delay))


def refused(template: str, *, times: int | None = None) -> ProviderRefuses:
    """The provider refuses emails from `template` for good; only the first `times` of them where that is given."""
    if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
        raise JourneyError(f"refused({template!r}, times={times!r}): times is a whole number from 1 up")
    return ProviderRefuses(template, times)


def down(delay: timedelta, lasting: timedelta) -> Outage:
    """The provider takes nothing, from that long after the start (zero: from the start) and for `lasting`.

    Emails are held up, tried again as in production, and go out when it is back; after 23 hours they fail.
    """
    _past(f"down(…, lasting={lasting!r})", lasting)
    return Outage(_forward("down", delay), lasting)


def _past(call: str, span: timedelta) -> timedelta:
    if not isinstance(span, timedelta) or span <= _NOW:
        raise JourneyError(f"{call}: give a length of time above zero, e.g. days(3)")
    return span


def _forward(name: str, delay: timedelta) -> timedelta:
    if not isinstance(delay, timedelta) or delay < _NOW:
        raise JourneyError(f"{name}({delay!r}, …): give a length of time, e.g. days(3)")
    return delay
