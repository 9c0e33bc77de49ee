"""What a condition is: an immutable tree that can be shown, stored and judged; same facts, same answer."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal, NoReturn, Protocol, cast, get_args

from hogsend.journeys.conditions import operators as comparison
from hogsend.journeys.conditions.operators import Operator
from hogsend.journeys.errors import JourneyError

Engagement = Literal["sent", "delivered", "opened", "clicked", "bounced"]
Source = Literal["event", "contact"]

BRACKETS = 'put each comparison in brackets: (prop("plan") == "pro") & (prop("seats") > 5)'
NO_TRUTH = (
    "a condition is not true or false before there is a person to ask about: combine conditions with & | ~ "
    'instead of `and`, `or`, `not`, and write 1 < x < 9 as (prop("x") > 1) & (prop("x") < 9)'
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


Judging = Generator["EventTest | EmailTest", int, tuple[bool, str]]
"""Yields what only the database knows, is sent a count, returns whether it held and what there was."""


class Condition:
    """Base of every node. Combine with `&`, `|` and `~`."""

    def __and__(self, other: Condition) -> Condition:
        return AllOf((*_parts(self, AllOf), *_parts(other, AllOf)))

    def __or__(self, other: Condition) -> Condition:
        return AnyOf((*_parts(self, AnyOf), *_parts(other, AnyOf)))

    def __invert__(self) -> Condition:
        return Not(self)

    def __bool__(self) -> NoReturn:
        raise TypeError(NO_TRUTH)

    def describe(self, *, negated: bool = False) -> str:
        """The condition, or its opposite, as a clause for people."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """The form in which it is stored and shown on the wire."""
        raise NotImplementedError

    @staticmethod
    def from_json(value: object) -> Condition:
        """The condition that `to_json` made `value` from. Raises `JourneyError` for anything else."""
        return _from_json(value)

    def leaves(self) -> Iterator[Leaf]:
        """The single tests in the tree, left to right."""
        raise NotImplementedError

    @property
    def only_properties(self) -> bool:
        """Whether it can be answered without asking the database."""
        return all(isinstance(leaf, PropertyTest) for leaf in self.leaves())

    def judge(self, event: Mapping[str, Any], contact: Mapping[str, Any]) -> Judging:
        """Judge by the event's and the contact's properties, and by the answers to what is yielded."""
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

    def leaves(self) -> Iterator[Leaf]:
        yield self

    @property
    def _subject(self) -> str:
        return f"{self.source} property {self.path}"

    def judge(self, event: Mapping[str, Any], contact: Mapping[str, Any]) -> Judging:
        actual = comparison.look_up(event if self.source == "event" else contact, self.path)
        held = comparison.passes(self.operator, actual, self.value)
        return held, f"{self._subject} is {comparison.show(actual)}"
        yield  # Makes it a generator, though it never asks: properties are at hand.


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

    def leaves(self) -> Iterator[Leaf]:
        yield self

    async def ask(self, facts: Facts) -> int:
        return await facts.count_events(self.event, _since(facts, self.within))

    def judge(self, event: Mapping[str, Any], contact: Mapping[str, Any]) -> Judging:
        count = yield self
        words = (
            "never happened" if count == 0 else "happened once" if count == 1 else f"happened {count} times"
        )
        return count >= self.count, f"{self.event} {words}{_period(self.within)}"


@dataclass(frozen=True)
class EmailTest(Condition):
    """Some email made from `template` was sent, or opened …, ever or within the last `within`."""

    template: str
    what: Engagement
    within: timedelta | None = None

    def describe(self, *, negated: bool = False) -> str:
        return f"email {self.template} was {'not ' if negated else ''}{self.what}{_period(self.within)}"

    def to_json(self) -> dict[str, Any]:
        return {"email": self.template, "was": self.what, **_seconds(self.within)}

    def leaves(self) -> Iterator[Leaf]:
        yield self

    async def ask(self, facts: Facts) -> int:
        return int(await facts.email_engagement(self.template, self.what, _since(facts, self.within)))

    def judge(self, event: Mapping[str, Any], contact: Mapping[str, Any]) -> Judging:
        held = bool((yield self))
        return held, self.describe(negated=not held)


Leaf = PropertyTest | EventTest | EmailTest


@dataclass(frozen=True)
class _Several(Condition):
    parts: tuple[Condition, ...]
    key: ClassVar[str]
    joint: ClassVar[str]
    decided_by: ClassVar[bool]

    def describe(self, *, negated: bool = False) -> str:
        clauses = (
            f"({part.describe()})" if isinstance(part, _Several) else part.describe() for part in self.parts
        )
        joined = f" {self.joint} ".join(clauses)
        return f"not ({joined})" if negated else joined

    def to_json(self) -> dict[str, Any]:
        return {self.key: [part.to_json() for part in self.parts]}

    def leaves(self) -> Iterator[Leaf]:
        for part in self.parts:
            yield from part.leaves()

    def judge(self, event: Mapping[str, Any], contact: Mapping[str, Any]) -> Judging:
        found: dict[int, str] = {}
        # Properties first: the database is asked only where they leave the matter open.
        for index, part in sorted(enumerate(self.parts), key=lambda item: not item[1].only_properties):
            held, found[index] = yield from part.judge(event, contact)
            if held is self.decided_by:
                return held, found[index]
        return not self.decided_by, "; ".join(dict.fromkeys(found[index] for index in sorted(found)))


@dataclass(frozen=True)
class AllOf(_Several):
    """Every part holds."""

    key: ClassVar[str] = "all"
    joint: ClassVar[str] = "and"
    decided_by: ClassVar[bool] = False


@dataclass(frozen=True)
class AnyOf(_Several):
    """At least one part holds."""

    key: ClassVar[str] = "any"
    joint: ClassVar[str] = "or"
    decided_by: ClassVar[bool] = True


@dataclass(frozen=True)
class Not(Condition):
    """The part does not hold."""

    part: Condition

    def __invert__(self) -> Condition:
        return self.part

    def describe(self, *, negated: bool = False) -> str:
        return self.part.describe(negated=not negated)

    def to_json(self) -> dict[str, Any]:
        return {"not": self.part.to_json()}

    def leaves(self) -> Iterator[Leaf]:
        yield from self.part.leaves()

    def judge(self, event: Mapping[str, Any], contact: Mapping[str, Any]) -> Judging:
        held, actual = yield from self.part.judge(event, contact)
        return not held, actual


def _parts(value: object, kind: type[_Several]) -> Sequence[Condition]:
    if isinstance(value, kind):
        return value.parts
    if isinstance(value, Condition):
        return (value,)
    raise JourneyError(f"a condition cannot be combined with {value!r}; {BRACKETS}")


def _since(facts: Facts, within: timedelta | None) -> datetime | None:
    return None if within is None else facts.now - within


def _seconds(within: timedelta | None) -> dict[str, float]:
    return {} if within is None else {"withinSeconds": within.total_seconds()}


def _period(within: timedelta | None) -> str:
    return "" if within is None else f" within {spoken(within)}"


def spoken(duration: timedelta) -> str:
    """A length of time for people: `2 days 12 hours`, `1 minute`, `0.5 seconds`."""
    left = duration.total_seconds()
    words = []
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        count, left = divmod(left, size)
        if count:
            words.append(f"{count:.0f} {unit}{'' if count == 1 else 's'}")
    if left or not words:
        words.append(f"{left:g} second{'' if left == 1 else 's'}")
    return " ".join(words)


def _from_json(value: object) -> Condition:
    match value:
        case {"all": list(parts)}:
            return AllOf(tuple(_from_json(part) for part in parts))
        case {"any": list(parts)}:
            return AnyOf(tuple(_from_json(part) for part in parts))
        case {"not": part}:
            return Not(_from_json(part))
        case {"property": str(path), "of": source, "operator": operator, **rest} if source in get_args(
            Source
        ):
            expected = rest.get("value")
            if operator in list(Operator):
                return PropertyTest(
                    cast(Source, source),
                    path,
                    Operator(operator),
                    tuple(expected) if isinstance(expected, list) else expected,
                )
        case {"event": str(name), "atLeast": int(count), **rest}:
            return EventTest(name, count, _within(rest))
        case {"email": str(template), "was": what, **rest} if what in get_args(Engagement):
            return EmailTest(template, cast(Engagement, what), _within(rest))
    raise JourneyError(f"{value!r} is no stored condition")


def _within(node: Mapping[Any, Any]) -> timedelta | None:
    seconds = node.get("withinSeconds")
    return None if seconds is None else timedelta(seconds=seconds)
