"""Event-loop lag: how late the loop comes to what is due, which is what everybody in this process waits for too."""

from __future__ import annotations

import asyncio

from hogsend.runtime import Runtime
from hogsend.storage.stopping import stop
from hogsend.telemetry.counters import LOOP_LAG

EVERY_SECONDS = 0.5


class LoopLag:
    """Measures for as long as the process lives, from when it is first asked for."""

    def __init__(self, _runtime: Runtime) -> None:
        self._measuring = asyncio.create_task(_measure())

    async def close(self) -> None:
        await stop(self._measuring)


async def _measure() -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + EVERY_SECONDS
        await asyncio.sleep(EVERY_SECONDS)
        LOOP_LAG.observe(max(0.0, loop.time() - due))
