"""Conditions that read like Python: `(prop("plan") == "pro") & ~event("project.created").happened()`.

A condition is an immutable tree. It can be shown (`describe`), stored (`to_json`) and asked (`evaluate`), and it
gives the same answer for the same facts. What it cannot do is be true or false by itself: there is no person yet
when the module that holds it is imported.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal, NoReturn, Protocol, cast

from hogsend.journeys import comparison
from hogsend.journeys.comparison import Operator
from hogsend.journeys.errors import JourneyError

Engagement = Literal["sent", "delivered", "opened", "clicked", "bounced"]
Source = Literal["event", "contact"]

_ENGAGEMENTS: dict[str, Engagement] = {
    "sent": "sent",
    "delivered": "delivered",
    "opened": "opened",
    "clicked": "clicked",
    "bounced": "bounced",
}
_BRACKETS = 'put each comparison in brackets: (prop("plan") == "pro") & (prop("seats") > 5)'
_NO_TRUTH = (
    "a condition is not true or false before there is a person to ask about: combine conditions with & | ~ instead of "
    '`and`, `or`, `not`, and write 1 < x < 9 as (prop("x") > 1) & (prop("x") < 9)'
)


class Facts(Protocol):
    """What conditions are asked about: one contact, as of one instant."""

    @property
    def now(self) -> datetime: ...
    @property
    def event_properties(self) -> Mapping[str, Any]: ...
    @property
    def contact_properties(self) -> Mapping[str, Any]: ...
    async def count_events(self, name: str, since: datetime | None) -> int:
        """How many events of that name the contact has, ever or not older than `since`."""
        ...

    async def email_engagement(self, template: str, what: str, since: datetime | None) -> bool:
        """Whether any email made from `template` was sent, opened, … to the contact, ever or since then."""
        ...


@dataclass(frozen=True)
class Verdict:
    """Whether a condition held, what it asks for, and what there was instead; both in words for people."""

    held: bool
    expected: str
    actual: str


_Judging = Generator["EventTest | EmailTest", int, "tuple[bool, str]"]
"""Yields what only the database knows, is sent a count, returns whether it held and what there was."""


class Condition:
    """Base of every node. Combine with `&`, `|` and `~`."""

    def __and__(self, other: Condition) -> Condition:
        return AllOf((*_parts(self, AllOf), *_parts(_condition(other), AllOf)))

    def __or__(self, other: Condition) -> Condition:
        return AnyOf((*_parts(self, AnyOf), *_parts(_condition(other), AnyOf)))

    def __invert__(self) -> Condition:
        return self.part if isinstance(self, Not) else Not(self)

    def __bool__(self) -> NoReturn:
        raise TypeError(_NO_TRUTH)

    def describe(self, *, negated: bool = False) -> str:
        """The condition, or its opposite, as a clause for people."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        raise NotImplementedError

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Condition:
        """The condition that `to_json` made `value` from. Raises `JourneyError` where it made no such thing."""
        return _from_json(value)

    def leaves(self) -> Iterator[PropertyTest | EventTest | EmailTest]:
        """The single tests in the tree, left to right."""
        raise NotImplementedError

    @property
    def needs_history(self) -> bool:
        """Whether it asks for more than properties, so that only `evaluate` can answer."""
        return any(not isinstance(leaf, PropertyTest) for leaf in self.leaves())

    def _judge(self, event: Mapping[str, Any], contact: Mapping[str, Any]) -> _Judging:
        raise NotImplementedError


@dataclass(frozen=True)
class PropertyTest(Condition):
    """One property of the event or of the contact against one value."""

    source: Source
    path: str
    operator: Operator
    value: Any = None

    def describe(self, *, negated: bool = False) -> str:
        return f"{self._subject} {comparison.describe(self.operator, self.value, negated=negated)}"

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"property": self.path, "of": self.source, "operator": self.operator.value}
        if self.operator is not Operator.EXISTS:
            found["value"] = list(self.value) if isinstance(self.value, tuple) else self.value
        return found

    def leaves(self) -> Iterator[PropertyTest | EventTest | EmailTest]:
        yield self

    @property
    def _subject(self) -> str:
        return f"{self.source} property {self.path}"

    def _judge(self, event: Mapping[str, Any], contact: Mapping[str, Any]) -> _Judging:
        actual = comparison.look_up(event if self.source == "event" else contact, self.path)
        held = comparison.passes(self.operator, actual, self.value)
        return held, f"{self._subject} is {comparison.show(actual)}"
        yield  # A generator that never asks: properties are at hand.


@dataclass(frozen=True)
class EventTest(Condition):
    """The contact has had at least `count` events of that name, ever or within the last `within`."""

    event: str
    count: int = 1
    within: timedelta | None = None

    def describe(self, *, negated: bool = False) -> str:
        if self.count == 1:
            words = "never happened" if negated else "happened"
        else:
            words = f"happened {'fewer than' if negated else 'at least'} {self.count} times"
        return f"{self.event} {words}{_period(self.within)}"

    def to_json(self) -> dict[str, Any]:
        return {"event": self.event, "atLeast": self.count, **_seconds(self.within)}

    def leaves(self) -> Iterator[PropertyTest | EventTest | EmailTest]:
        yield self

    async def ask(self, facts: Facts) -> int:
        return await facts.count_events(self.event, _since(facts, self.within))

    def _judge(self, event: Mapping[str, Any], contact: Mapping[str, Any]) -> _Judging:
        count = yield self
        words = "never happened" if count == 0 else "happened once" if count == 1 else f"happened {count} times"
        return count >= self.count, f"{self.event} {words}{_period(self.within)}"


@dataclass(frozen=True)
class EmailTest(Condition):
    """Some email made from `template` was sent to the contact, or opened …, ever or within the last `within`."""

    template: str
    what: Engagement
    within: timedelta | None = None

    def describe(self, *, negated: bool = False) -> str:
        return f"email {self.template} was {'not ' if negated else ''}{self.what}{_period(self.within)}"

    def to_json(self) -> dict[str, Any]:
        return {"email": self.template, "was": self.what, **_seconds(self.within)}

    def leaves(self) -> Iterator[PropertyTest | EventTest | EmailTest]:
        yield self

    async def ask(self, facts: Facts) -> int:
        return int(await facts.email_engagement(self.template, self.what, _since(facts, self.within)))

    def _judge(self, event: Mapping[str, Any], contact: Mapping[str, Any]) -> _Judging:
        held = bool((yield self))
        return held, self.describe(negated=not held)


@dataclass(frozen=True)
class AllOf(Condition):
    """Every part holds. Properties are looked at first, so that the database is asked only where it decides."""

    parts: tuple[Condition, ...]
    _joint: ClassVar[str] = "and"

    def describe(self, *, negated: bool = False) -> str:
        return _joined(self.parts, self._joint, negated)

    def to_json(self) -> dict[str, Any]:
        return {"all": [part.to_json() for part in self.parts]}

    def leaves(self) -> Iterator[PropertyTest | EventTest | EmailTest]:
        for part in self.parts:
            yield from part.leaves()

    def _judge(self, event: Mapping[str, Any], contact: Mapping[str, Any]) -> _Judging:
        return (yield from _judge_until(False, self.parts, event, contact))


@dataclass(frozen=True)
class AnyOf(Condition):
    """At least one part holds."""

    parts: tuple[Condition, ...]
    _joint: ClassVar[str] = "or"

    def describe(self, *, negated: bool = False) -> str:
        return _joined(self.parts, self._joint, negated)

    def to_json(self) -> dict[str, Any]:
        return {"any": [part.to_json() for part in self.parts]}

    def leaves(self) -> Iterator[PropertyTest | EventTest | EmailTest]:
        for part in self.parts:
            yield from part.leaves()

    def _judge(self, event: Mapping[str, Any], contact: Mapping[str, Any]) -> _Judging:
        return (yield from _judge_until(True, self.parts, event, contact))


@dataclass(frozen=True)
class Not(Condition):
    """The part does not hold."""

    part: Condition

    def describe(self, *, negated: bool = False) -> str:
        return self.part.describe(negated=not negated)

    def to_json(self) -> dict[str, Any]:
        return {"not": self.part.to_json()}

    def leaves(self) -> Iterator[PropertyTest | EventTest | EmailTest]:
        yield from self.part.leaves()

    def _judge(self, event: Mapping[str, Any], contact: Mapping[str, Any]) -> _Judging:
        held, actual = yield from self.part._judge(event, contact)
        return not held, actual
