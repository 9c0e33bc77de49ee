"""Group commit: single events that come while others are being taken in make the next wave together.

The first one goes at once, so nobody waits where there is nothing to wait for; under load, many share what a
transaction costs. Each still has its own answer, after its own commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from dataclasses import dataclass
from typing import Any

from hogsend.events.event import NewEvent
from hogsend.ingestion.batch import Answer, settle_alone, settle_wave
from hogsend.ingestion.pipeline import Incoming, IngestResult
from hogsend.ingestion.waves import People, next_wave
from hogsend.runtime import Runtime
from hogsend.telemetry import traces

# Waves under way at once: while Postgres works on one, Python prepares the other.
MOST_WAVES = 2


@dataclass(frozen=True)
class _Waiting:
    incoming: Incoming
    answer: asyncio.Future[IngestResult]

    def settle(self, answer: Answer | BaseException) -> None:
        """Tell whoever still listens."""
        if self.answer.done():
            return
        if isinstance(answer, IngestResult):
            self.answer.set_result(answer)
        else:
            self.answer.set_exception(answer)


class GroupCommit:
    """The events of one process that wait for a wave. Closing it waits for them all."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._queue: list[_Waiting] = []
        self._waves = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self, event: NewEvent) -> IngestResult:
        """Take in an event that `check_event` has passed. Raises what went wrong with it.

        Whoever is cancelled withdraws an event that no wave has yet; any other is taken in all the same.
        """
        waiting = _Waiting(Incoming(event), asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        if self._waves < MOST_WAVES:
            self._waves += 1
            self._begin(self._work())
        return await waiting.answer

    async def close(self) -> None:
        """Wait until all that have come are answered."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        # Of no request: what one of them keeps in its context is nothing of the others'.
        task = asyncio.create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        """One wave after the other, until nobody waits."""
        try:
            while wave := self._next():
                await self._take_wave(wave)
        finally:
            self._waves -= 1

    def _next(self) -> list[_Waiting]:
        queue = {one.incoming.id: one for one in self._queue if not one.answer.done()}
        waiting = [one.incoming for one in queue.values()]
        wave, put_off = next_wave(self._runtime.registry, waiting, People(waiting))
        self._queue = [queue[one.id] for one in put_off]
        return [queue[one.id] for one in wave]

    async def _take_wave(self, wave: list[_Waiting]) -> None:
        contexts = [one.incoming.trace for one in wave if one.incoming.trace is not None]
        try:
            with traces.span("ingest", parent=next(iter(contexts), None), links=contexts[1:]):
                answers = await settle_wave(self._runtime, [one.incoming for one in wave])
        except BaseException as error:
            for one in wave:
                one.settle(error)
            if isinstance(error, asyncio.CancelledError):
                raise
            return
        left = [one for one in wave if one.incoming.id not in answers]
        for one in wave:
            if one.incoming.id in answers:
                one.settle(answers[one.incoming.id])
        if left:
            # They may have to wait for a lock: not in the way of the next wave.
            self._begin(self._take_alone(left))

    async def _take_alone(self, left: list[_Waiting]) -> None:
        await asyncio.gather(*(self._alone(one) for one in left))

    async def _alone(self, one: _Waiting) -> None:
        try:
            one.settle(await settle_alone(self._runtime, one.incoming))
        except BaseException as error:
            one.settle(error)
            if isinstance(error, asyncio.CancelledError):
                raise
