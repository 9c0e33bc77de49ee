"""Request context of GraphQL: who asks, the loaders, and a bounded share of the pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import uuid4

import strawberry
from sqlalchemy import Executable, RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from strawberry.dataloader import DataLoader

from hogsend.access.caller import Caller
from hogsend.access.rate_limits import Rate
from hogsend.realtime.cursor import StreamCursor
from hogsend.realtime.entries import ActivityEntry
from hogsend.runtime import Runtime

CONNECTIONS_A_REQUEST = 4
LONGEST_PAGE = 100

K = TypeVar("K")
V = TypeVar("V")


@dataclass
class Context:
    """One operation's. `longest_page` bounds `first` and `last`; REST's own documents may read longer inner lists.

    `extensions` end up in the response's `extensions`. A subscription is `streaming` and reads with the streams' share
    of connections; `resume` stands instead of its argument `after`; `begun` says that it can be followed, `position` is
    where it has come to, `caught_up` that nothing before `settled` is left to tell. `entry` is the row of the activity
    log that its message is made of, None where it tells a state. With `raw_json` the answer is only for JSON bytes:
    JSON columns may stand in it as `orjson.Fragment`.
    """

    runtime: Runtime
    caller: Caller
    request_id: str = field(default_factory=lambda: uuid4().hex)
    ip_address: str | None = None
    rate: Rate | None = None
    streaming: bool = False
    resume: StreamCursor | None = None
    position: StreamCursor | None = None
    entry: ActivityEntry | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    settled: StreamCursor | None = None
    caught_up: asyncio.Event = field(default_factory=asyncio.Event)
    longest_page: int = LONGEST_PAGE
    tier: str | None = None
    raw_json: bool = False
    extensions: dict[str, Any] = field(default_factory=dict)
    _loaders: dict[Hashable, DataLoader[Any, Any]] = field(default_factory=dict, repr=False)
    _slots: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(CONNECTIONS_A_REQUEST), repr=False
    )

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """A connection for one read: sibling fields resolve at once and never share one.

        No transaction is opened, which saves round trips; it must not be given a write.
        """
        async with self._slots, self.runtime.database.each_alone(self._share) as conn:
            yield conn

    @property
    def _share(self) -> AsyncEngine | None:
        return self.runtime.database.streams if self.streaming else None

    async def fetch(self, sql: str, values: Sequence[Any]) -> Sequence[Mapping[str, Any]]:
        """Read the rows of a statement that is SQL text already, as `Database.fetch` does."""
        async with self._slots:
            return await self.runtime.database.fetch(sql, values, self._share)

    async def rows(self, statement: Executable) -> Sequence[RowMapping]:
        """Read one statement's rows, on a connection of its own."""
        async with self.connection() as conn:
            return (await conn.execute(statement)).mappings().all()

    def loader(
        self, identity: Hashable, load: Callable[[list[K]], Awaitable[Sequence[V]]]
    ) -> DataLoader[K, V]:
        """The operation's loader of that identity; `load` reads all keys that siblings asked for at once."""
        found = self._loaders.get(identity)
        if found is None:
            found = self._loaders[identity] = DataLoader(load_fn=load)
        return found

    def forget(self) -> None:
        """Drop what was read: after a write, and before each message of a subscription."""
        self._loaders = {}


Info = strawberry.Info[Context, None]
