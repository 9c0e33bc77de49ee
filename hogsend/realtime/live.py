"""Live streams of one process: its hub and tailer, made when the first stream asks for them."""

from __future__ import annotations

import asyncio

from hogsend.realtime.hub import Hub
from hogsend.realtime.tailer import Tailer
from hogsend.runtime import Runtime
from hogsend.storage.stopping import stop


class Live:
    """The process's hub and tailer. Streams end, each with its cursor, when `draining` is set."""

    def __init__(self, runtime: Runtime) -> None:
        self.hub = Hub(runtime)
        self.draining = asyncio.Event()
        tailer = Tailer(runtime.database, self.hub)
        running = (self.hub.bus.run(), self.hub.run(), tailer.run())
        self._tasks = [asyncio.create_task(each) for each in running]

    async def close(self) -> None:
        self.draining.set()
        await stop(*self._tasks)
