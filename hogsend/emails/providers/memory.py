"""Email provider in memory: keeps what it is given, for tests and for `hogsend.testing`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from uuid import uuid4

from hogsend.emails.providers.errors import ProviderError, ProviderRefused
from hogsend.emails.providers.message import Message


@dataclass(frozen=True)
class Accepted:
    """A message that this provider took."""

    id: str
    idempotency_key: str
    message: Message


class MemoryProvider:
    """Behaves like one that never forgets a key. `calls` counts tries; `accepted` counts emails.

    Errors that are put into `faults` are raised by the next calls, one each, before anything is accepted.
    """

    name = "memory"

    def __init__(self) -> None:
        self.accepted: list[Accepted] = []
        self.calls: Counter[str] = Counter()
        self.faults: list[ProviderError] = []
        self._by_key: dict[str, Accepted] = {}

    async def send(self, message: Message, *, idempotency_key: str) -> str:
        self.calls[idempotency_key] += 1
        if self.faults:
            raise self.faults.pop(0)
        before = self._by_key.get(idempotency_key)
        if before is not None:
            if before.message != message:
                raise ProviderRefused("This idempotency key was used for another message")
            return before.id
        taken = Accepted(f"memory_{uuid4()}", idempotency_key, message)
        self._by_key[idempotency_key] = taken
        self.accepted.append(taken)
        return taken.id

    def to(self, address: str) -> list[Message]:
        """What was accepted for one address, in order."""
        return [each.message for each in self.accepted if each.message.to == address]

    async def close(self) -> None:
        """There is nothing to let go of."""
