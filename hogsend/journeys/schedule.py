"""Moments as people name them: `when.next("monday", at="09:00")`, meant in the person's own time zone.

A moment is a plain value until it is resolved against an instant and a zone. A time that a zone skips in
spring is as far behind the jump (02:30 becomes 03:30); one it has twice in autumn is the first of the two.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from hogsend.journeys.errors import JourneyError

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
WEEKDAYS = DAYS[:5]
WEEKEND = DAYS[5:]

_MOST_DAYS = 366
_UTC = ZoneInfo("UTC")


class Moment:
    """Base of every moment."""

    def resolve(self, now: datetime, tz: ZoneInfo) -> datetime:
        """The instant, in UTC, that it means for someone in `tz` at `now` (aware). Never before `now`."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """What the journal keeps of it: the same for the same moment."""
        raise NotImplementedError

    def describe(self) -> str:
        """The moment in words."""
        raise NotImplementedError


@dataclass(frozen=True)
class NextDay(Moment):
    """The first of these weekdays at that time which is still ahead: today too, before the time."""

    days: tuple[str, ...]
    at: time

    def resolve(self, now: datetime, tz: ZoneInfo) -> datetime:
        today = now.astimezone(tz).date()
        # From yesterday: where the clock went back across midnight, its end is still ahead.
        for day in _dates(today - timedelta(days=1), self.days):
            instant = _ahead(day, self.at, tz, now)
            if instant > now:
                return instant
        raise AssertionError("a fortnight without one of its days")

    def to_json(self) -> dict[str, Any]:
        return {"next": list(self.days), "at": _text(self.at)}

    def describe(self) -> str:
        return f"next {_named(self.days)} at {_text(self.at)}"


@dataclass(frozen=True)
class LaterDay(Moment):
    """So many calendar days on, at that time."""

    count: int
    at: time

    def resolve(self, now: datetime, tz: ZoneInfo) -> datetime:
        day = now.astimezone(tz).date() + timedelta(days=self.count)
        return _ahead(day, self.at, tz, now)

    def to_json(self) -> dict[str, Any]:
        return {"inDays": self.count, "at": _text(self.at)}

    def describe(self) -> str:
        day = "tomorrow" if self.count == 1 else f"in {self.count} days"
        return f"{day} at {_text(self.at)}"


@dataclass(frozen=True)
class Window(Moment):
    """Now where it is open, else when it opens next. One that ends before it starts is open over midnight."""

    start: time
    end: time
    days: tuple[str, ...]

    def resolve(self, now: datetime, tz: ZoneInfo) -> datetime:
        today = now.astimezone(tz).date()
        overnight = timedelta(days=1 if self.end < self.start else 0)
        for day in _dates(today - timedelta(days=1), self.days):
            opens = _instant(day, self.start, tz)
            closes = _instant(day + overnight, self.end, tz)
            # A window that the clock jumps over does not open that day.
            if opens < closes and now < closes:
                return max(opens, now.astimezone(UTC))
        raise AssertionError("a fortnight without one of its days")

    def to_json(self) -> dict[str, Any]:
        return {"from": _text(self.start), "to": _text(self.end), "days": list(self.days)}

    def describe(self) -> str:
        return f"between {_text(self.start)} and {_text(self.end)} on {_named(self.days)}"


def next(day: str | Collection[str], *, at: str) -> Moment:  # noqa: A001 - it is always read as `when.next`
    """The next `"monday"`, or the next of `WEEKDAYS`, at `"09:00"`."""
    return NextDay(_days("when.next", day), _time("when.next", at))


def tomorrow(*, at: str) -> Moment:
    """The day after today, at that time."""
    return LaterDay(1, _time("when.tomorrow", at))


def in_days(count: int, *, at: str) -> Moment:
    """`count` calendar days after today, at that time: `in_days(3, at="10:00")`."""
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= _MOST_DAYS:
        raise JourneyError(f"when.in_days({count!r}, …): the count is a whole number from 1 to {_MOST_DAYS}")
    return LaterDay(count, _time("when.in_days", at))


def window(start: str, end: str, *, days: str | Collection[str] = DAYS) -> Moment:
    """Now if it is between `start` and `end` on one of `days`, else the next time that it is.

    A window such as `("22:00", "06:00")` is open over midnight and belongs to the day on which it opens.
    """
    found = Window(_time("when.window", start), _time("when.window", end), _days("when.window", days))
    if found.start == found.end:
        raise JourneyError(f'when.window("{start}", "{end}") is never open; end it at another time')
    return found


def timezone_of(properties: Mapping[str, Any]) -> ZoneInfo:
    """The zone that a contact's property `timezone` names; UTC where there is none, or it is not a zone."""
    name = properties.get("timezone")
    if not isinstance(name, str) or not name:
        return _UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # Any text a product sends: unknown names, paths out of the database, folders (`Europe`), too long.
        return _UTC


def _instant(day: date, at: time, tz: ZoneInfo, fold: Literal[0, 1] = 0) -> datetime:
    return datetime.combine(day, at, tzinfo=tz).replace(fold=fold).astimezone(UTC)


def _ahead(day: date, at: time, tz: ZoneInfo, now: datetime) -> datetime:
    first = _instant(day, at, tz)
    # Past already: it comes once more where the clock goes back. (In a skipped hour fold 1 is the earlier.)
    return first if first > now else max(first, _instant(day, at, tz, fold=1))


def _dates(start: date, names: tuple[str, ...]) -> Iterator[date]:
    for offset in range(15):
        day = start + timedelta(days=offset)
        if DAYS[day.weekday()] in names:
            yield day


def _days(call: str, value: str | Collection[str]) -> tuple[str, ...]:
    names = {value} if isinstance(value, str) else set(value)
    known = {str(name).lower() for name in names}
    if not known or not known.issubset(DAYS):
        raise JourneyError(f'{call}({value!r}, …): name days as "monday" … "sunday", or give WEEKDAYS')
    return tuple(day for day in DAYS if day in known)


def _time(call: str, text: str) -> time:
    hours, _, minutes = text.partition(":") if isinstance(text, str) else ("", "", "")
    if len(hours) == len(minutes) == 2 and hours.isdecimal() and minutes.isdecimal() and text.isascii():
        hour, minute = int(hours), int(minutes)
        if hour < 24 and minute < 60:
            return time(hour, minute)
    raise JourneyError(f'{call}: {text!r} is no time of day; write hours and minutes, e.g. "09:00"')


def _text(at: time) -> str:
    return at.strftime("%H:%M")


def _named(days: tuple[str, ...]) -> str:
    if days == DAYS:
        return "any day"
    return {WEEKDAYS: "weekday", WEEKEND: "weekend day"}.get(days, ", ".join(days))
