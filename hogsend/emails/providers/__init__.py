"""Email providers: the port, and the one that `HOGSEND_EMAIL_PROVIDER` names."""

from __future__ import annotations

from typing import Protocol

from hogsend.clock import Clock
from hogsend.emails.providers.errors import OutcomeUnknown, ProviderError, ProviderRefused, TryLater
from hogsend.emails.providers.message import Message
from hogsend.settings import Settings
from hogsend.storage.database import Database


class EmailProvider(Protocol):
    """One way out. Implementations are safe to call from many tasks at once."""

    name: str

    async def send(self, message: Message, *, idempotency_key: str) -> str:
        """Hand one message over; returns the provider's id for it.

        The same key with the same message is one email, however often it is tried, for as long as the provider
        keeps keys. Raises `ProviderRefused`, `TryLater` or `OutcomeUnknown`, and nothing else for what happens on
        the wire.
        """
        ...

    async def close(self) -> None:
        """Let go of connections; nothing may be sent after it."""
        ...


def make_provider(settings: Settings, database: Database, clock: Clock) -> EmailProvider:
    """The provider that the settings name. Connects to nothing; imports a provider's SDK only where it is used."""
    match settings.provider:
        case "resend":
            from hogsend.emails.providers.resend import ResendProvider

            return ResendProvider.from_settings(settings, clock)
        case "smtp":
            from hogsend.emails.providers.smtp import SmtpProvider

            return SmtpProvider.from_settings(settings)
        case "memory":
            from hogsend.emails.providers.memory import MemoryProvider

            return MemoryProvider()
        case "inbox":
            from hogsend.emails.providers.inbox import InboxProvider

            return InboxProvider(database, clock)


__all__ = [
    "EmailProvider",
    "Message",
    "OutcomeUnknown",
    "ProviderError",
    "ProviderRefused",
    "TryLater",
    "make_provider",
]
