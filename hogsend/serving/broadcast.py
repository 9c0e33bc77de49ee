"""One execution for all who ask alike: each subscriber of a stream costs a write of bytes that were made once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Hashable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

import orjson
import structlog

from hogsend.graphql.context import Context
from hogsend.graphql.errors import Code, present, problem, status_of
from hogsend.graphql.live import going_away
from hogsend.realtime.cursor import Snapshot, StreamCursor
from hogsend.realtime.live import Live
from hogsend.runtime import Runtime
from hogsend.serving.execution import Answer, Executor, Refused, located
from hogsend.serving.pace import Pace
from hogsend.serving.stream_request import StreamRequest
from hogsend.serving.subscriber import Sink, StreamMessage, Subscriber, too_slow, write_in_time
from hogsend.storage.stopping import stop

log = structlog.get_logger(__name__)

KEPT_MESSAGES = 64
KEPT_BYTES = 2**18
WRITES_AT_A_TIME = 100
OPENINGS_AT_A_TIME = 8
OPENING_SECONDS = 10.0
RETRY_SECONDS = 5


class Group:
    """All who asked alike: one execution, the messages it made last, and its subscribers.

    Whoever is at a position from `floor` on can join and misses nothing: what is behind it is kept, or still to come.
    """

    def __init__(
        self, request: StreamRequest, start: StreamCursor | None, executor: Executor, live: Live
    ) -> None:
        self.request = request
        self.floor = 0 if start is None else start.pos
        self.context = request.context_at(start)
        self.begun = self.context.begun
        self.ended = False
        self._subscribers: set[Subscriber] = set()
        self._kept: deque[StreamMessage] = deque()
        self._kept_bytes = 0
        self._states = 0
        self._live = live
        self.task = asyncio.create_task(self._run(executor))

    def takes(self, cursor: StreamCursor | None) -> bool:
        """Whether a subscriber that is at `cursor` can join."""
        return not self.ended and (cursor is None or cursor.pos >= self.floor)

    @contextmanager
    def joined(self, subscriber: Subscriber) -> Iterator[None]:
        """Hear what is kept behind the subscriber's position, then each message. The last who leaves ends it."""
        self._subscribers.add(subscriber)
        for message in self._kept:
            subscriber.offer(message)
        try:
            yield
        finally:
            self._subscribers.discard(subscriber)
            subscriber.close()
            if not self._subscribers:
                self.ended = True
                self.task.cancel()

    async def _run(self, executor: Executor) -> None:
        last: Answer | None = None
        try:
            last = await self._tell_all(executor)
        except Exception as error:
            last = _failed(error, self.context)
        except asyncio.CancelledError:
            last = Answer(errors=(going_away(None),), executed=False)
        self.ended = True
        for subscriber in tuple(self._subscribers):
            subscriber.end(last)
        self.begun.set()

    async def _tell_all(self, executor: Executor) -> Answer | None:
        """Tell every answer until the stream ends: None where it is complete, else why."""
        answers = executor.subscribe(self.request.prepared, self.request.variables, self.context)
        try:
            while True:
                coming = asyncio.ensure_future(anext(answers))
                try:
                    await first_of(coming, self._live.draining.wait())
                finally:
                    if not coming.done():
                        await stop(coming)
                if coming.cancelled():
                    return Answer(errors=(going_away(None),), executed=False)
                try:
                    answer = coming.result()
                except StopAsyncIteration:
                    return None
                if answer.refused:
                    return answer
                await self._tell(answer)
        finally:
            await answers.aclose()  # type: ignore[attr-defined]

    async def _tell(self, answer: Answer) -> None:
        self._states += 1
        message = message_of(answer, self.context, self._states)
        self._keep(message)
        self.begun.set()
        for number, subscriber in enumerate(tuple(self._subscribers), 1):
            subscriber.offer(message)
            if number % WRITES_AT_A_TIME == 0:
                await asyncio.sleep(0)  # let others have the loop
        message.shrink()

    def _keep(self, message: StreamMessage) -> None:
        if message.at is None:
            self._kept.clear()
            self._kept_bytes = 0
        self._kept.append(message)
        self._kept_bytes += len(message.body)
        while len(self._kept) > KEPT_MESSAGES or (self._kept_bytes > KEPT_BYTES and len(self._kept) > 1):
            dropped = self._kept.popleft()
            self._kept_bytes -= len(dropped.body)
            self.floor = dropped.pos


class Broadcast:
    """The groups of one process, and the way into them."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._groups: dict[Hashable, Group] = {}
        self._opening = asyncio.Semaphore(OPENINGS_AT_A_TIME)

    async def serve(self, executor: Executor, request: StreamRequest, sink: Sink) -> Answer | None:
        """Write the stream that was asked for to `sink` until it ends: None where it is complete, else why it ends.

        Sets `request.context.begun` when it can be followed. Cancelled where the reader has gone.
        """
        try:
            executor.check(request.prepared, request.variables, request.context)
            return await self._serve(executor, request, sink)
        except Refused as refused:
            return refused.answer()
        except Exception as error:
            return _failed(error, request.context)

    async def close(self) -> None:
        await stop(*(group.task for group in self._groups.values()))

    async def _serve(self, executor: Executor, request: StreamRequest, sink: Sink) -> Answer | None:
        cursor, seen = await self._begin(request)
        while True:
            if cursor is None or cursor.shown is None:
                subscriber = Subscriber(sink, cursor, seen)
                with ExitStack() as stack:
                    async with self._slot():
                        group = self._group_for(executor, request, cursor)
                        if group is not None:
                            stack.enter_context(group.joined(subscriber))
                            await group.begun.wait()
                    if group is not None:
                        request.follow_with(subscriber)
                        return await subscriber.ended
            ended = await self._alone(executor, request, sink, cursor)
            if not isinstance(ended, StreamCursor):
                return ended
            cursor = ended

    async def _begin(self, request: StreamRequest) -> tuple[StreamCursor | None, Snapshot | None]:
        """Where the stream begins, and what is left out of it. Raises `InvalidInput` for a cursor that is none."""
        if not request.tells_entries:
            return None, None
        given = request.after()
        cursor = await self._runtime.part(Live).hub.begin(given)
        await self._runtime.part(Pace).turn()  # all who begin at once have shared one look at the log
        if given is None:
            # Nobody was shown anything, so a later cursor needs no snapshot.
            return StreamCursor(cursor.pos), cursor.snapshot
        return cursor, None

    def _group_for(
        self, executor: Executor, request: StreamRequest, cursor: StreamCursor | None
    ) -> Group | None:
        """The group that takes a subscriber at `cursor`, begun where there is none; None where it is too far on."""
        found = self._groups.get(request.key)
        if found is not None and not found.ended:
            return found if found.takes(cursor) else None
        group = Group(request, cursor, executor, self._runtime.part(Live))
        self._groups[request.key] = group
        group.task.add_done_callback(lambda _: self._forget(request.key, group))
        return group

    def _forget(self, key: Hashable, group: Group) -> None:
        if self._groups.get(key) is group:
            del self._groups[key]
        if not group.task.cancelled() and (error := group.task.exception()) is not None:
            log.error("stream_group_failed", exc_info=error)

    async def _alone(
        self, executor: Executor, request: StreamRequest, sink: Sink, cursor: StreamCursor | None
    ) -> Answer | StreamCursor | None:
        """An execution for one reader who is behind the others: until it ends, or is where it can join them."""
        assert cursor is not None, "a state is joined at once"
        context = request.context_at(cursor)
        answers = executor.subscribe(request.prepared, request.variables, context)
        coming = asyncio.ensure_future(anext(answers))
        try:
            async with self._slot():
                await first_of(coming, context.begun.wait())
            if not coming.done():
                request.context.begun.set()
            while True:
                await first_of(coming, context.caught_up.wait())
                context.caught_up.clear()
                if coming.done():
                    answer = coming.result()
                    if answer.refused:
                        return answer
                    message = message_of(answer, context, 0)
                    await write_in_time(sink, message)
                    cursor = message.at or cursor
                    request.context.begun.set()
                elif context.settled is not None:
                    # Not `position`: that may already be of a message which is still being made.
                    cursor = context.settled
                request.context.position = cursor
                if cursor.shown is None and self._joinable(request, cursor):
                    return cursor
                if coming.done():
                    coming = asyncio.ensure_future(anext(answers))
        except StopAsyncIteration:
            return None
        except TimeoutError:
            return too_slow(cursor)
        except OSError:
            raise asyncio.CancelledError from None  # the reader has gone
        finally:
            await stop(coming)
            await answers.aclose()  # type: ignore[attr-defined]

    def _joinable(self, request: StreamRequest, cursor: StreamCursor) -> bool:
        group = self._groups.get(request.key)
        return group is None or group.ended or group.takes(cursor)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        """One of the few that may touch the database to begin. Raises THROTTLED after waiting for some seconds."""
        try:
            async with asyncio.timeout(OPENING_SECONDS):
                await self._opening.acquire()
        except TimeoutError:
            raise problem(
                "Too many streams are being opened now; try again", Code.THROTTLED, retryAfter=RETRY_SECONDS
            ) from None
        try:
            yield
        finally:
            self._opening.release()


def message_of(answer: Answer, context: Context, number: int) -> StreamMessage:
    """An answer as it goes out: with its cursor where it tells an entry, else as state number `number`."""
    entry = context.entry
    body: dict[str, Any] = {"data": answer.data}
    if answer.errors:
        body["errors"] = [error.formatted for error in answer.errors]
    if entry is None:
        return StreamMessage(number, 0, orjson.dumps(body), None)
    body["extensions"] = {"cursor": entry.cursor.encode()}
    return StreamMessage(entry.pos, entry.txid, orjson.dumps(body), entry.cursor)


async def first_of(done: asyncio.Future[Any], other: Coroutine[Any, Any, Any]) -> None:
    """Wait until `done` or `other` is; `other` is cancelled where it is not."""
    waiting = asyncio.ensure_future(other)
    try:
        await asyncio.wait({done, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


def _failed(error: Exception, context: Context) -> Answer:
    shown = present(located(error), context)
    return Answer(errors=(shown,), status=status_of(shown), executed=False)
