"""Retries of a send: the pause after each attempt, and for how long. All of it is real time."""

from __future__ import annotations

from datetime import timedelta

from hogsend.backoff import backoff

KEY_LIFETIME = timedelta(hours=23)
"""An hour less than the shortest memory of a provider: behind it the same key may be a second email."""

LONGEST_PAUSE = timedelta(minutes=10)


def pause_after(attempt: int) -> timedelta:
    """How long to wait after that attempt, the first one being 1."""
    return backoff(attempt, first=timedelta(seconds=5), longest=LONGEST_PAUSE)
