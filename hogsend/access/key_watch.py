"""Whether keys that were let in are let in still: one watch a key, however many streams it holds open."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hogsend.access.authenticate import until_refused
from hogsend.access.errors import AccessError
from hogsend.runtime import Runtime
from hogsend.storage.stopping import stop


@dataclass
class _Watch:
    task: asyncio.Task[AccessError]
    holders: int = 0


class KeyWatch:
    """Watches each key for as long as somebody asks."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._watches: dict[str | None, _Watch] = {}

    @contextmanager
    def refusal(self, authorization: str | None) -> Iterator[asyncio.Task[AccessError]]:
        """A task, not to be cancelled, that ends with the refusal once the key is let in no more."""
        watch = self._watches.get(authorization)
        if watch is None or watch.task.done():
            watch = _Watch(asyncio.create_task(until_refused(self._runtime, authorization)))
            self._watches[authorization] = watch
        watch.holders += 1
        try:
            yield watch.task
        finally:
            watch.holders -= 1
            if not watch.holders:
                watch.task.cancel()
                if self._watches.get(authorization) is watch:
                    del self._watches[authorization]

    async def close(self) -> None:
        await stop(*(watch.task for watch in self._watches.values()))
