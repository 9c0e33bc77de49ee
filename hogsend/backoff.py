"""Exponential backoff: how long to wait before the next attempt."""

from __future__ import annotations

from datetime import timedelta


def backoff(attempt: int, *, first: timedelta = timedelta(seconds=1), longest: timedelta) -> timedelta:
    """The pause after `attempt`, the first one being 1: `first`, then twice as long each time, at most `longest`."""
    return min(first * (1 << min(max(attempt, 1) - 1, 20)), longest)
