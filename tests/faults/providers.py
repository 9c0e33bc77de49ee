"""Providers that hold their first message: before they take it, or before they say that they did."""

from __future__ import annotations

import asyncio
from typing import Any

from hogsend.emails.providers.memory import MemoryProvider


class Slow(MemoryProvider):
    """Holds the first message until `go_on`, and takes it then. `calling` tells that it has come."""

    def __init__(self) -> None:
        super().__init__()
        self.calling, self.go_on = asyncio.Event(), asyncio.Event()

    async def send(self, message: Any, *, idempotency_key: str) -> str:
        await self._hold()
        return await super().send(message, idempotency_key=idempotency_key)

    async def _hold(self) -> None:
        if not self.calling.is_set():
            self.calling.set()
            await self.go_on.wait()


class Held(Slow):
    """Takes the first message at once, and answers when it is let go."""

    async def send(self, message: Any, *, idempotency_key: str) -> str:
        taken = await MemoryProvider.send(self, message, idempotency_key=idempotency_key)
        await self._hold()
        return taken
