"""Refusals: what a caller got wrong, in words for them. Transports turn these into user errors or 4xx.

`code` travels from the action to the wire unchanged; nothing but these reaches a client.
"""

from __future__ import annotations


class HogsendError(Exception):
    """Base of every error whose message is meant to be read by whoever called.

    `message` is a sentence, `code` the kind of mistake for programs, `field` the path of what is wrong
    (`users.3.userEmail`), empty where it is all of it.
    """

    def __init__(self, message: str, code: str = "REFUSED", field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.field = field


class Refusal(HogsendError):
    """What is wrong with a request itself, as opposed to who asks or to a part of ours that fails."""


class InvalidInput(Refusal):
    """One field is wrong; `message` says what it takes."""

    def __init__(self, field: str, message: str, code: str = "INVALID") -> None:
        super().__init__(message, code, field)


class NotFound(Refusal):
    """There is no such thing. `thing` is the word of the contract: `Contact`, `Journey state` …"""

    def __init__(self, thing: str) -> None:
        super().__init__(f"{thing} not found", "NOT_FOUND")
        self.thing = thing


class Conflict(Refusal):
    """It exists, and its state does not allow this."""

    def __init__(self, message: str, code: str = "CONFLICT") -> None:
        super().__init__(message, code)
