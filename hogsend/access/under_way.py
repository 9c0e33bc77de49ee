"""Work that runs to its end once it has begun, whoever still listens for its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

import structlog

from hogsend.engine.liveness import Presence
from hogsend.runtime import Runtime
from hogsend.storage.stopping import stop

log = structlog.get_logger(__name__)

GRACE = timedelta(seconds=15)
T = TypeVar("T")


class UnderWay:
    """What one process has begun and must end. A process that stops waits for it, at most `GRACE` (real time)."""

    def __init__(self, runtime: Runtime) -> None:
        # Made first, so closed last: work under way is its owner's for as long as the owner waits for it.
        runtime.part(Presence)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def whole(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which goes on where the caller is cancelled."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_note_unheard)
            raise

    async def drain(self, within: timedelta = GRACE) -> None:
        """Let what is under way end; what is left then is cancelled, and stays in the audit log as interrupted."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within.total_seconds())
        if self._tasks:
            log.warning("work_interrupted", tasks=len(self._tasks))
            await stop(*self._tasks)

    async def close(self) -> None:
        await self.drain()


def _note_unheard(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("work_failed_unheard", error=type(error).__name__)
