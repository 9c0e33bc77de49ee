"""Clocks: product time and real time. No other module asks the machine what time it is.

`now()` is *product time*: when an event occurred, when a sleep ends. `hogsend dev --speed 3600` makes it run
faster, and tests set it. `wall()` is *real time*: leases, rate limits, expiries, what a provider remembers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol


def instant_text(value: datetime) -> str:
    """`2026-01-15T10:30:00.000Z`: UTC, milliseconds."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"


class Clock(Protocol):
    """Both instants are aware and in UTC."""

    def now(self) -> datetime: ...
    def wall(self) -> datetime: ...
    def product(self, real: timedelta) -> timedelta:
        """How much product time passes while `real` time does."""
        ...

    def real(self, product: timedelta) -> timedelta:
        """How much real time passes while `product` time does."""
        ...


@dataclass(frozen=True)
class SystemClock:
    """The machine's clock; product time starts at `anchor` and runs `speed` times as fast."""

    speed: float = 1.0
    anchor_wall: datetime | None = None
    anchor_product: datetime | None = None

    def wall(self) -> datetime:
        return datetime.now(UTC)

    def now(self) -> datetime:
        wall = self.wall()
        if self.anchor_wall is None or self.anchor_product is None:
            return wall
        return self.anchor_product + (wall - self.anchor_wall) * self.speed

    def product(self, real: timedelta) -> timedelta:
        return real * self.speed

    def real(self, product: timedelta) -> timedelta:
        return product / self.speed


class ManualClock:
    """A clock that moves only when it is told to: for tests and for `hogsend.testing`."""

    def __init__(self, at: datetime | None = None) -> None:
        self._at = at or datetime(2026, 1, 15, 10, 30, tzinfo=UTC)

    def now(self) -> datetime:
        return self._at

    def wall(self) -> datetime:
        return self._at

    def product(self, real: timedelta) -> timedelta:
        return real

    def real(self, product: timedelta) -> timedelta:
        return product

    def advance(self, by: timedelta) -> datetime:
        self._at += by
        return self._at

    def set(self, at: datetime) -> None:
        """Move to `at`, back too: some faults are clocks that jump."""
        self._at = at
