"""Heartbeats of open sockets: one timer a process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from hogsend.runtime import Runtime
from hogsend.serving.eager import begun
from hogsend.storage.stopping import stop

BEAT_SECONDS = 25.0
AT_A_TIME = 100

Beat = Callable[[], Coroutine[Any, Any, None]]


class Heartbeat:
    """Calls each that asked every `BEAT_SECONDS`; one whose last beat is not written yet is left out."""

    def __init__(self, _runtime: Runtime) -> None:
        self._beats: dict[object, Beat] = {}
        self._under_way: dict[object, asyncio.Task[None]] = {}
        self._task = asyncio.create_task(self._run())

    @contextmanager
    def beating(self, beat: Beat) -> Iterator[None]:
        """Call `beat` again and again during the block. An `OSError` of it, a reader that has gone, is ignored."""
        mine = object()
        self._beats[mine] = beat
        try:
            yield
        finally:
            del self._beats[mine]
            if (task := self._under_way.pop(mine, None)) is not None:
                task.cancel()

    async def close(self) -> None:
        await stop(self._task, *self._under_way.values())

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            for number, (mine, beat) in enumerate(tuple(self._beats.items()), 1):
                self._beat(mine, beat)
                if number % AT_A_TIME == 0:
                    await asyncio.sleep(0)

    def _beat(self, mine: object, beat: Beat) -> None:
        if mine in self._under_way or mine not in self._beats:
            return
        try:
            rest = begun(beat())
        except OSError:
            return
        if rest is not None:
            self._under_way[mine] = rest
            rest.add_done_callback(lambda done: self._done(mine, done))

    def _done(self, mine: object, task: asyncio.Task[None]) -> None:
        self._under_way.pop(mine, None)
        if not task.cancelled():
            task.exception()
