"""When a send that the provider did not take is tried again, and how long. All of it is real time."""

from __future__ import annotations

from datetime import timedelta

KEY_LIFETIME = timedelta(hours=23)
"""An hour less than the shortest memory of a provider: behind it the same key may be a second email."""

LONGEST_BACKOFF = timedelta(minutes=10)


def backoff(attempt: int) -> timedelta:
    """How long to wait after that attempt, the first one being 1: five seconds, then twice as long each time."""
    return min(timedelta(seconds=5 * 2 ** min(attempt - 1, 10)), LONGEST_BACKOFF)
