"""Conditions that read like Python: `(prop("plan") == "pro") & event("project.created").never()`.

What authors write, and how it is asked. `condition_tree` is what it makes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

from hogsend.journeys.conditions.operators import Operator
from hogsend.journeys.conditions.tree import (
    BRACKETS,
    NO_TRUTH,
    AllOf,
    Condition,
    EmailTest,
    Engagement,
    EventTest,
    Facts,
    Not,
    PropertyTest,
    Source,
)
from hogsend.journeys.errors import JourneyError

__all__ = [
    "Condition",
    "ConditionResult",
    "Facts",
    "Property",
    "Trigger",
    "email",
    "evaluate",
    "event",
    "matches_properties",
    "on",
    "prop",
    "user_prop",
]

_LONGEST_NAME = 200


@dataclass(frozen=True)
class ConditionResult:
    """Whether a condition held, what it asks for, and what there was instead; both in words for people."""

    held: bool
    expected: str
    actual: str


@dataclass(frozen=True)
class Trigger:
    """An event, and what must hold when it happens."""

    event: str
    where: Condition | None = None

    def to_json(self) -> dict[str, Any]:
        """The wire form, `{event, where?}`."""
        return (
            {"event": self.event}
            if self.where is None
            else {"event": self.event, "where": self.where.to_json()}
        )

    def describe(self) -> str:
        """In words, for people: `payment.failed where plan is "pro"`."""
        return self.event if self.where is None else f"{self.event} where {self.where.describe()}"


def on(event: str, where: Condition | Mapping[str, Any] | None = None) -> Trigger:
    """That event, where the condition holds; `{"plan": "pro"}` asks that the event's properties equal these.

    Raises `JourneyError` for a name that no event can have and for a `where` that is no condition.
    """
    return Trigger(_event_name(event), None if where is None else as_condition(where))


def as_condition(where: object) -> Condition | None:
    """A condition as it is; a dict as the condition that the event's properties equal it; `{}` as None."""
    if isinstance(where, Condition):
        return where
    if isinstance(where, Property):
        raise JourneyError(f"where={where!r} compares nothing; write {where!r} == … or {where!r}.exists()")
    if not isinstance(where, Mapping):
        raise JourneyError(f'where={where!r}: write where={{"plan": "pro"}} or where=prop("plan") == "pro"')
    tests = tuple(prop(path) == value for path, value in where.items())
    return None if not tests else tests[0] if len(tests) == 1 else AllOf(tests)


class Property:
    """A property that waits to be compared. It reaches into nested objects by dots: `address.city`."""

    __slots__ = ("_path", "_source")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, source: Source, path: str) -> None:
        if not isinstance(path, str) or not all(path.split(".")):
            raise JourneyError(f'{path!r} is no property: name it, e.g. "plan" or "address.city"')
        self._source = source
        self._path = path

    def __eq__(self, value: object) -> Condition:  # type: ignore[override]
        return self._test(Operator.EQ, self._scalar(value))

    def __ne__(self, value: object) -> Condition:  # type: ignore[override]
        return Not(self._test(Operator.EQ, self._scalar(value)))

    def __gt__(self, value: float | str) -> Condition:
        return self._test(Operator.GT, self._orderable(value))

    def __ge__(self, value: float | str) -> Condition:
        return self._test(Operator.GTE, self._orderable(value))

    def __lt__(self, value: float | str) -> Condition:
        return self._test(Operator.LT, self._orderable(value))

    def __le__(self, value: float | str) -> Condition:
        return self._test(Operator.LTE, self._orderable(value))

    def in_(self, values: Iterable[object]) -> Condition:
        """It equals one of them."""
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise JourneyError(f'{self!r}.in_({values!r}): give a list, e.g. in_(["pro", "team"])')
        found = tuple(
            self._scalar(value) for value in (sorted(values) if isinstance(values, set) else values)
        )
        if not found:
            raise JourneyError(f"{self!r}.in_([]) never holds; give at least one value")
        return self._test(Operator.IN, found)

    def contains(self, value: object) -> Condition:
        """A text that has this part, or a list that has this element."""
        return self._test(Operator.CONTAINS, self._scalar(value))

    def exists(self) -> Condition:
        """It is there, and not null."""
        return self._test(Operator.EXISTS, None)

    def __repr__(self) -> str:
        return f"{'prop' if self._source == 'event' else 'user_prop'}({self._path!r})"

    def __bool__(self) -> NoReturn:
        raise TypeError(f"{self!r} is not compared with anything; {NO_TRUTH}")

    def _unbracketed(self, _other: object) -> NoReturn:
        raise JourneyError(f"& and | bind tighter than comparisons; {BRACKETS}")

    __and__ = __rand__ = __or__ = __ror__ = _unbracketed

    def _test(self, operator: Operator, value: object) -> Condition:
        return PropertyTest(self._source, self._path, operator, value)

    def _scalar(self, value: object) -> object:
        if value is None:
            raise JourneyError(
                f"{self!r} is never equal to None; write {self!r}.exists() or ~{self!r}.exists()"
            )
        if not isinstance(value, str | bool | int | float) or (
            isinstance(value, float) and not math.isfinite(value)
        ):
            raise JourneyError(
                f"{self!r} can be compared with a text, a number, True or False, not with {value!r}"
            )
        return value

    def _orderable(self, value: object) -> object:
        if isinstance(value, bool):
            raise JourneyError(f"{self!r}: {value} is neither more nor less than anything; write == {value}")
        return self._scalar(value)


def prop(path: str) -> Property:
    """A property of the event."""
    return Property("event", path)


def user_prop(path: str) -> Property:
    """A property of the contact."""
    return Property("contact", path)


@dataclass(frozen=True)
class EventHistory:
    """The events of one name that the contact has had, the one that is being handled included."""

    name: str

    def happened(self, *, within: timedelta | None = None) -> Condition:
        """At least once, ever or in the time just before: `happened(within=days(7))`."""
        return EventTest(self.name, 1, _positive(within))

    def never(self, *, within: timedelta | None = None) -> Condition:
        """Not once."""
        return Not(EventTest(self.name, 1, _positive(within)))

    def at_least(self, count: int, *, within: timedelta | None = None) -> Condition:
        """That many times or more."""
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise JourneyError(
                f"event({self.name!r}).at_least({count!r}): the count is a whole number from 1 up"
            )
        return EventTest(self.name, count, _positive(within))


@dataclass(frozen=True)
class EmailHistory:
    """The emails made from one template that the contact was sent."""

    template: str

    def sent(self, *, within: timedelta | None = None) -> Condition:
        """The provider took one, ever or in the time just before: `sent(within=days(7))`."""
        return self._test("sent", within)

    def delivered(self, *, within: timedelta | None = None) -> Condition:
        """One reached the mailbox."""
        return self._test("delivered", within)

    def opened(self, *, within: timedelta | None = None) -> Condition:
        """The contact opened one."""
        return self._test("opened", within)

    def clicked(self, *, within: timedelta | None = None) -> Condition:
        """The contact clicked a link in one."""
        return self._test("clicked", within)

    def bounced(self, *, within: timedelta | None = None) -> Condition:
        """One came back."""
        return self._test("bounced", within)

    def _test(self, what: Engagement, within: timedelta | None) -> Condition:
        return EmailTest(self.template, what, _positive(within))


def event(name: str) -> EventHistory:
    """The contact's events of that name: `event("project.created").happened(within=days(7))`."""
    return EventHistory(_event_name(name))


def email(template: str) -> EmailHistory:
    """The contact's emails from that template: `email("welcome").opened()`."""
    if not isinstance(template, str) or not template:
        raise JourneyError(f'email({template!r}): name a template, e.g. email("welcome")')
    return EmailHistory(template)


async def evaluate(condition: Condition, facts: Facts) -> ConditionResult:
    """Ask a condition about one contact, in whatever transaction `facts` reads."""
    judging = condition.judge(facts.event_properties, facts.contact_properties)
    try:
        leaf = next(judging)
        while True:
            leaf = judging.send(await leaf.ask(facts))
    except StopIteration as done:
        held, actual = done.value
        return ConditionResult(held, condition.describe(), actual)


def matches_properties(
    condition: Condition, event_properties: Mapping[str, Any], contact_properties: Mapping[str, Any]
) -> bool:
    """Whether a condition that only looks at properties holds, without asking the database.

    Raises `JourneyError` where it asks for history: check `only_properties` where the author writes it.
    """
    if not condition.only_properties:
        raise JourneyError(
            f"only properties can be asked about here, and this asks for more: {condition.describe()}"
        )
    try:
        next(condition.judge(event_properties, contact_properties))
    except StopIteration as done:
        held, _ = done.value
        return bool(held)
    raise AssertionError("a condition on properties asked for history")


def _event_name(name: object) -> str:
    if not isinstance(name, str) or name != name.strip() or not name.isprintable() or not name:
        raise JourneyError(
            f"{name!r} is no event name: write it as your product sends it, e.g. 'user.signed_up'"
        )
    if len(name) > _LONGEST_NAME:
        raise JourneyError(f"the event name {name[:40]!r}… is longer than {_LONGEST_NAME} characters")
    return name


def _positive(within: timedelta | None) -> timedelta | None:
    if within is None:
        return None
    if not isinstance(within, timedelta) or within <= timedelta(0):
        raise JourneyError(f"within={within!r}: give a length of time longer than zero, e.g. within=days(7)")
    return within
