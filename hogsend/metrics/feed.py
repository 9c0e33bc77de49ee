"""Figures that stream: the current ones, then each change. One publisher a process computes them for all who listen.

It computes at most once a second, and only while somebody listens: after a hint over Redis that something happened, and
now and then without one, since figures of the last days also change as time goes by and Redis may be away.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.metrics import queries
from hogsend.metrics.periods import DAY, Period, Span, floor
from hogsend.realtime.entries import ActivityFilter
from hogsend.realtime.hub import Feed
from hogsend.realtime.live import Live
from hogsend.runtime import Runtime
from hogsend.storage.stopping import stop
from hogsend.storage.unreachable import unreachable

log = structlog.get_logger(__name__)

EVERY = 1.0
"""Seconds: neither is anything computed more often, nor is anyone told."""


class Topic(Enum):
    """What can be followed."""

    OVERVIEW = "overview"
    JOURNEYS = "journeys"
    EMAILS = "emails"
    EVENTS = "events"


Figures = Mapping[Topic, Any]
"""Of each topic what `queries` answers: an `Overview`, `JourneyRuns`, templates with `Engagement`, `EventCount`s."""


@dataclass(frozen=True)
class Message:
    """All the topics that somebody follows; `changed` are those that differ from the message before, at first all."""

    figures: Figures
    changed: frozenset[Topic]


async def measure(runtime: Runtime, conn: AsyncConnection, topic: Topic) -> Any:
    """The current figures of a topic: of journeys and emails those ever, of events those of today in UTC."""
    now = runtime.clock.now()
    match topic:
        case Topic.OVERVIEW:
            return await queries.overview(conn, now)
        case Topic.JOURNEYS:
            return await queries.journeys(conn, {one.id: one.name for one in runtime.registry.all()})
        case Topic.EMAILS:
            return await queries.emails(conn, Span(), untemplated=True)
    return await queries.events(conn, Period.DAY, Span(floor(now, DAY)))


class MetricsFeed:
    """The publisher of one process."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._live = runtime.part(Live)
        self._wanted: list[frozenset[Topic]] = []
        self._figures: dict[Topic, Any] = {}
        self._computing = asyncio.Lock()
        self._computed: dict[Topic, float] = {}
        self._news = asyncio.Event()
        self._publishing: asyncio.Task[None] | None = None

    async def follow(self, topics: Collection[Topic]) -> AsyncIterator[Message]:
        """The figures as they are now, then whenever they change; ends when the process stops."""
        wanted = frozenset(topics)
        with self._listening(wanted):
            await self._compute(wanted)
            shown = self._of(wanted)
            yield Message(shown, wanted)
            told = time.monotonic()
            while not self._live.draining.is_set():
                if self._of(wanted) == shown:
                    await self._or_draining(self._news.wait())
                    continue
                await self._or_draining(asyncio.sleep(told + EVERY - time.monotonic()))
                before, shown = shown, self._of(wanted)
                changed = frozenset(topic for topic in wanted if shown[topic] != before[topic])
                if changed:
                    yield Message(shown, changed)
                    told = time.monotonic()

    async def close(self) -> None:
        if self._publishing is not None:
            await stop(self._publishing)

    def _of(self, topics: frozenset[Topic]) -> Figures:
        return {topic: self._figures[topic] for topic in Topic if topic in topics}

    @contextmanager
    def _listening(self, topics: frozenset[Topic]) -> Iterator[None]:
        self._wanted.append(topics)
        if self._publishing is None:
            self._publishing = asyncio.create_task(self._publish())
        try:
            yield
        finally:
            self._wanted.remove(topics)
            if not self._wanted and self._publishing is not None:
                self._publishing.cancel()
                self._publishing = None

    async def _publish(self) -> None:
        while True:
            try:
                async with self._live.hub.listen(ActivityFilter()) as news:
                    while True:
                        await self._compute(frozenset().union(*self._wanted))
                        await asyncio.sleep(EVERY)
                        await self._happened(news)
            except Exception as error:
                log.warning(
                    "metrics_not_computed", error=type(error).__name__, exc_info=not unreachable(error)
                )
            await asyncio.sleep(EVERY)

    async def _happened(self, news: Feed) -> None:
        """Until something did, or may have: not all that is counted leaves a row in the log."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._live.hub.bus.poll_seconds):
                await news.take()

    async def _compute(self, topics: frozenset[Topic]) -> None:
        """Bring figures up to now. What somebody began to compute since this was asked for is not computed again."""
        asked = time.monotonic()
        async with self._computing:
            due = [topic for topic in topics if self._computed.get(topic, -1.0) < asked]
            if not due:
                return
            began = time.monotonic()
            async with self._runtime.database.each_alone() as conn:
                found = {topic: await measure(self._runtime, conn, topic) for topic in due}
            self._computed.update(dict.fromkeys(due, began))
            if any(topic not in self._figures or self._figures[topic] != found[topic] for topic in due):
                self._figures.update(found)
                self._news.set()
                self._news = asyncio.Event()

    async def _or_draining(self, waiting: Coroutine[Any, Any, object]) -> None:
        tasks = [asyncio.ensure_future(waiting), asyncio.ensure_future(self._live.draining.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await stop(*tasks)
