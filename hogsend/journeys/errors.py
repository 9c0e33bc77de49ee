"""What authors are told before anything runs."""

from __future__ import annotations


class JourneyError(Exception):
    """An author's mistake, found before anything runs. The message says what to write instead."""
