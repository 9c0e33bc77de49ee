"""What a person can get wrong. Transports turn these into user errors or 4xx; nothing else reaches a client."""

from __future__ import annotations


class HogsendError(Exception):
    """Base of every error whose message is meant to be read by whoever called."""


class InvalidInput(HogsendError):
    """One field is wrong. `field` is its path (`users.3.userEmail`), `message` a sentence that says what it takes."""

    def __init__(self, field: str, message: str, code: str = "INVALID") -> None:
        super().__init__(message)
        self.field = field
        self.message = message
        self.code = code


class NotFound(HogsendError):
    """There is no such thing. `thing` is the word of the contract: `Contact`, `Journey state` …"""

    def __init__(self, thing: str) -> None:
        super().__init__(f"{thing} not found")
        self.thing = thing
        self.message = f"{thing} not found"


class Conflict(HogsendError):
    """It exists, and its state does not allow this."""

    def __init__(self, message: str, code: str = "CONFLICT") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
