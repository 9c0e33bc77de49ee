"""What a command ends with when a person can put it right, and what they are told."""

from __future__ import annotations

from collections.abc import Sequence


class Problem(Exception):
    """Told as it is, without a traceback; the process ends with exit code 1."""


def told_of(error: Exception) -> Sequence[str]:
    """The lines that explain an error that a person can put right; none for any other, which is a bug."""
    if isinstance(error, Problem):
        return (str(error),)
    # Imported now: settings are heavy, and `hogsend --help` reads none.
    from hogsend.journeys.errors import JourneyError
    from hogsend.settings import SettingsError

    if isinstance(error, SettingsError):
        return (error.heading, *(f"  {problem}" for problem in error.problems))
    return (str(error),) if isinstance(error, JourneyError) else ()
