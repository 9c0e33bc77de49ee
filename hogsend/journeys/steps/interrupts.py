"""Why a slice of a journey stops before its function returns.

All are `BaseException`s, so that an author's `except Exception` cannot swallow them; the context raises the first
one again at every later step, so that a bare `except` cannot either.
"""

from __future__ import annotations

from datetime import datetime

from hogsend.decisions.reasons import Reason


class Interrupt(BaseException):
    """Base of all of them."""


class Suspend(Interrupt):
    """Nothing to do before `wake_at` (product time) or an event."""

    def __init__(self, wake_at: datetime) -> None:
        super().__init__(f"until {wake_at.isoformat()}")
        self.wake_at = wake_at


class RunEnded(Interrupt):
    """The run was ended meanwhile: exited, cancelled, merged."""


class LeaseLost(Interrupt):
    """Somebody else drives this run now."""


class Blocked(Interrupt):
    """Only a person can tell how it goes on."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class RunFailed(Interrupt):
    """This run cannot go on: it fails, with a dead letter."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Transient(Interrupt):
    """A part that the step needs did not answer; the same slice is tried again later."""


class CodeChanged(Interrupt):
    """The code asks for another step than the one recorded. Nothing is done on a guess: the run is blocked.

    `seq` is the first recorded step that does not fit.
    """

    def __init__(self, message: str, seq: int) -> None:
        super().__init__(message)
        self.seq = seq
