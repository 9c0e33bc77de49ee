"""Live streams of one process: its bus and tailer, made when the first stream asks for them."""

from __future__ import annotations

import asyncio

from hogsend.realtime.bus import Bus
from hogsend.realtime.tailer import Tailer
from hogsend.runtime import Runtime
from hogsend.storage.stopping import stop


class Live:
    """The process's bus and tailer. Streams end, each with its cursor, when `draining` is set."""

    def __init__(self, runtime: Runtime) -> None:
        self.bus = Bus(runtime.redis)
        self.draining = asyncio.Event()
        tailer = Tailer(runtime.database, self.bus)
        self._tasks = [asyncio.create_task(self.bus.run()), asyncio.create_task(tailer.run())]

    async def close(self) -> None:
        self.draining.set()
        await stop(*self._tasks)
