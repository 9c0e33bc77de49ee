"""Errors of email providers: refused for good, to be tried later, or of unknown outcome."""

from __future__ import annotations

from datetime import timedelta


class ProviderError(Exception):
    """Base. `reason` is a sentence for operators; it never holds a credential."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ProviderRefused(ProviderError):
    """The provider said no, and will say so again: final."""


class TryLater(ProviderError):
    """The provider did not take it this time. `retry_after` is real time, where the provider named one."""

    def __init__(self, reason: str, retry_after: timedelta | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class OutcomeUnknown(ProviderError):
    """The request went out and no answer came back: the provider may have taken it.

    It is safe to try again with the same key and the same bytes for as long as the provider remembers keys.
    """
