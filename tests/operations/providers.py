"""Providers that behave as those do whose sends an operator has to settle."""

from __future__ import annotations

from typing import Any

from hogsend.emails.providers import OutcomeUnknown
from hogsend.emails.providers.memory import MemoryProvider


class Mute(MemoryProvider):
    """Takes messages, and says so to nobody while `mute`."""

    mute = True

    async def send(self, message: Any, *, idempotency_key: str) -> str:
        taken = await super().send(message, idempotency_key=idempotency_key)
        if self.mute:
            raise OutcomeUnknown("no answer")
        return taken
