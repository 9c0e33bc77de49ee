"""Periods and spans of time in UTC, and how a span is put together from days, hours and the rest of an hour.

The reach of a span is half-open and in microseconds, as Postgres has them; a span's own ends are both within it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from sqlalchemy import ColumnElement

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Period(Enum):
    """How long one point of a series is."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True)
class Reach:
    """From `start` on, before `end`; one that is None is open."""

    start: datetime | None = None
    end: datetime | None = None

    @property
    def empty(self) -> bool:
        return self.start is not None and self.end is not None and self.start >= self.end

    def holds(self, column: ColumnElement[Any]) -> list[ColumnElement[bool]]:
        bounds = []
        if self.start is not None:
            bounds.append(column >= self.start)
        if self.end is not None:
            bounds.append(column < self.end)
        return bounds


@dataclass(frozen=True)
class Span:
    """A window in time, both ends within it; an end that is None is open."""

    start: datetime | None = None
    end: datetime | None = None

    def reach(self) -> Reach:
        try:
            return Reach(self.start, self.end and self.end + timedelta(microseconds=1))
        except OverflowError:
            return Reach(self.start)


@dataclass(frozen=True)
class Cover:
    """A span in as few pieces as there can be: whole days, whole hours beside them, the rest of the hours at its ends.

    `whole` has the days and the hours.
    """

    edges: tuple[Reach, ...]
    whole: Reach | None = None
    days: Reach | None = None
    hours: tuple[Reach, ...] = ()


def cover(reach: Reach, *, by_day: bool) -> Cover:
    """The pieces of a span; its days are taken as hours unless `by_day`."""
    whole = _whole(reach, HOUR)
    if whole is None:
        return Cover(edges=() if reach.empty else (reach,))
    days = _whole(whole, DAY) if by_day else None
    hours = (whole,) if days is None else _outside(days, whole)
    return Cover(_outside(whole, reach), whole, days, hours)


def _whole(reach: Reach, length: timedelta) -> Reach | None:
    """The whole hours or days within, None where there is none."""
    try:
        start = reach.start and floor(reach.start + length - timedelta(microseconds=1), length)
    except OverflowError:
        return None
    whole = Reach(start, reach.end and floor(reach.end, length))
    return None if whole.empty else whole


def _outside(inner: Reach, outer: Reach) -> tuple[Reach, ...]:
    """What of `outer` is before and behind `inner`."""

    def parts() -> Iterator[Reach]:
        if inner.start is not None:
            yield Reach(outer.start, inner.start)
        if inner.end is not None:
            yield Reach(inner.end, outer.end)

    return tuple(part for part in parts() if not part.empty)


def floor(at: datetime, length: timedelta) -> datetime:
    """The first instant of its hour or day; `length` is `HOUR` or `DAY`."""
    hour = at.replace(minute=0, second=0, microsecond=0)
    return hour if length == HOUR else hour.replace(hour=0)
