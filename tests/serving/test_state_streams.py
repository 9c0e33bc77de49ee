"""Streams of a state: the latest first, made once for all, and never more than the latest for who reads slowly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import strawberry

from hogsend.access.caller import THE_ADMIN_KEY
from hogsend.graphql.context import Context, Info
from hogsend.graphql.fields import query, subscription
from hogsend.realtime.live import Live
from hogsend.runtime import Runtime
from hogsend.serving.broadcast import Broadcast
from hogsend.serving.execution import Answer, Executor, Refused
from hogsend.serving.stream_request import StreamRequest
from hogsend.serving.subscriber import StreamMessage
from tests.faults.site import eventually

STATES: asyncio.Queue[int | None]
executions: int


@strawberry.type
class Query:
    @query(description="Something.")
    def something(self) -> int:
        return 1


@strawberry.type
class Subscription:
    @subscription(tells="state", description="A number that changes.")
    async def number(self, info: Info) -> AsyncIterator[int]:
        global executions
        executions += 1
        while (state := await STATES.get()) is not None:
            yield state


class Reader:
    """What one subscriber hears; it takes nothing while `takes` is clear."""

    def __init__(self, broadcast: Broadcast, executor: Executor, runtime: Runtime) -> None:
        self.heard: list[int] = []
        self.takes = asyncio.Event()
        self.takes.set()
        prepared = executor.prepare("subscription { number }")
        self.request = StreamRequest(executor.schema, prepared, {}, Context(runtime, THE_ADMIN_KEY))
        self.task = asyncio.create_task(broadcast.serve(executor, self.request, self))

    async def next(self, message: StreamMessage) -> None:
        if not self.takes.is_set():
            await self.takes.wait()
        self.heard.append(orjson.loads(message.body)["data"]["number"])

    async def hears(self, *numbers: int) -> None:
        async def heard() -> list[int]:
            return self.heard

        wanted = list(numbers)
        assert await eventually(heard, lambda found: found == wanted) == wanted


@pytest.fixture
def executor() -> Executor:
    global STATES, executions
    STATES, executions = asyncio.Queue(), 0
    return Executor(strawberry.Schema(Query, subscription=Subscription)._schema)


async def test_who_joins_later_hears_the_latest_first(runtime: Runtime, executor: Executor) -> None:
    broadcast = Broadcast(runtime)
    first = Reader(broadcast, executor, runtime)
    for number in (1, 2, 3):
        STATES.put_nowait(number)
    await first.hears(1, 2, 3)
    second = Reader(broadcast, executor, runtime)
    await second.hears(3)
    STATES.put_nowait(4)
    await asyncio.gather(first.hears(1, 2, 3, 4), second.hears(3, 4))
    assert executions == 1
    STATES.put_nowait(None)
    assert await asyncio.gather(first.task, second.task) == [None, None]


async def test_a_slow_reader_misses_states_but_the_latest(runtime: Runtime, executor: Executor) -> None:
    broadcast = Broadcast(runtime)
    slow, quick = Reader(broadcast, executor, runtime), Reader(broadcast, executor, runtime)
    STATES.put_nowait(0)
    await asyncio.gather(slow.hears(0), quick.hears(0))
    slow.takes.clear()
    for number in range(1, 6):
        STATES.put_nowait(number)
    await quick.hears(0, 1, 2, 3, 4, 5)
    slow.takes.set()
    await slow.hears(0, 1, 5)
    STATES.put_nowait(None)
    assert await slow.task is None
    await quick.task


async def test_the_last_who_leaves_ends_the_execution(runtime: Runtime, executor: Executor) -> None:
    broadcast = Broadcast(runtime)
    reader = Reader(broadcast, executor, runtime)
    STATES.put_nowait(1)
    await reader.hears(1)
    reader.task.cancel()

    async def groups() -> int:
        return len(broadcast._groups)

    assert await eventually(groups, lambda left: left == 0) == 0
    again = Reader(broadcast, executor, runtime)
    STATES.put_nowait(2)
    await again.hears(2)
    again.task.cancel()


async def test_a_state_cannot_be_resumed(runtime: Runtime, executor: Executor) -> None:
    reader = Reader(Broadcast(runtime), executor, runtime)
    reader.task.cancel()
    request = StreamRequest(
        executor.schema, reader.request.prepared, {}, reader.request.context, resume="czE"
    )
    with pytest.raises(Refused, match="begins with the current state"):
        _ = request.tells_entries


async def test_it_ends_where_the_process_stops(runtime: Runtime, executor: Executor) -> None:
    reader = Reader(Broadcast(runtime), executor, runtime)
    STATES.put_nowait(1)
    await reader.hears(1)
    runtime.part(Live).draining.set()
    answer: Answer | None = await reader.task
    assert answer is not None
    extensions: dict[str, Any] = dict(answer.errors[0].extensions or {})
    assert extensions == {"code": "GOING_AWAY"}
