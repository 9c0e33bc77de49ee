"""Lengths of time as authors write them, and as REST shows them."""

from __future__ import annotations

from datetime import timedelta


def days(count: float) -> timedelta:
    """That many days: `days(2)`, `days(0.5)`. Lengths of time add up."""
    return timedelta(days=count)


def hours(count: float) -> timedelta:
    """That many hours: `hours(12)`. Lengths of time add up."""
    return timedelta(hours=count)


def minutes(count: float) -> timedelta:
    """That many minutes: `minutes(30)`. Lengths of time add up."""
    return timedelta(minutes=count)


def seconds(count: float) -> timedelta:
    """That many seconds: `seconds(5)`. Lengths of time add up."""
    return timedelta(seconds=count)


def parts(duration: timedelta) -> dict[str, int]:
    """`{hours?, minutes?, seconds?}`, the wire form; parts that are zero are left out."""
    total = int(duration.total_seconds())
    split = {"hours": total // 3600, "minutes": total % 3600 // 60, "seconds": total % 60}
    return {unit: count for unit, count in split.items() if count}
