"""The pool, transactions, and the lock that orders what happens to one person."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias
from uuid import UUID

import orjson
from sqlalchemy import Engine, RowMapping, event, text
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import greenlet_spawn

from hogsend.settings import Settings
from hogsend.storage.statement_spans import spanned
from hogsend.telemetry.counters import take_counts

SUBJECT_LOCK_SPACE = 42

# Seconds of real time. Whoever is served by a connection that does not answer waits for PING and CONNECT.
PING_SECONDS = 3.0
CONNECT_SECONDS = 5.0
STATEMENT_SECONDS = 60.0
POOL_SECONDS = 10.0
EXPORT_SECONDS = 2.0
MOST_EXPORTS = 2
STREAM_CONNECTIONS = 4
_FRESH = 1.0

Record: TypeAlias = Mapping[str, Any] | RowMapping
"""A row by column name, fetched or built."""
# One statement for all; OFFSET 0 keeps the planner from taking the locks before it has sorted them.
_LOCK_SUBJECTS = text(
    "SELECT pg_advisory_xact_lock(key) FROM ("
    " SELECT DISTINCT hashtextextended(name, :space) AS key FROM unnest(CAST(:subjects AS text[])) AS name"
    " ORDER BY 1 OFFSET 0) AS keys"
)

_TRY_LOCK_SUBJECTS = text(
    "SELECT name FROM unnest(CAST(:subjects AS text[])) AS name"
    " WHERE NOT pg_try_advisory_xact_lock(hashtextextended(name, :space))"
)


def _dumps(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


class Database:
    """One pool. Each method checks a connection out for the length of its block."""

    def __init__(
        self, engine: AsyncEngine, exports: AsyncEngine, health: AsyncEngine, streams: AsyncEngine
    ) -> None:
        self.engine = engine
        # Shares of their own: a reader that stalls, or a burst of requests, starves nobody else.
        self.exports = exports
        self.health = health
        self.streams = streams

    @classmethod
    def open(cls, settings: Settings, *, application: str = "hogsend") -> Database:
        """Make the pools; the first connection is made when it is first needed."""
        size = settings.database_pool_size
        return cls(
            # What is made beyond a pool's size is thrown away after use: a busy process would connect all the time.
            _pool(settings, application, size=size + size // 2, wait=POOL_SECONDS),
            exports=_pool(settings, f"{application}-exports", size=MOST_EXPORTS, wait=EXPORT_SECONDS),
            health=_pool(settings, f"{application}-health", size=2, wait=EXPORT_SECONDS),
            # One more for the tailer, which keeps its own.
            streams=_pool(settings, f"{application}-streams", size=STREAM_CONNECTIONS + 1, wait=POOL_SECONDS),
        )

    @property
    def engines(self) -> tuple[AsyncEngine, ...]:
        """Every pool."""
        return (self.engine, self.exports, self.health, self.streams)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed at the end of the block, rolled back when it raises."""
        async with self.engine.begin() as conn:
            take_counts(conn)  # Of a transaction that never came to its end.
            yield conn
            counts = take_counts(conn)
        for counter in counts:
            counter.inc()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reads; nothing done on it is kept."""
        async with self.engine.connect() as conn:
            yield conn

    @asynccontextmanager
    async def each_alone(self, share: AsyncEngine | None = None) -> AsyncIterator[AsyncConnection]:
        """A connection on which each statement is its own transaction: a round trip where the others take three.

        Of the requests' share, unless told.
        """
        async with (share or self.engine).connect() as conn:
            yield await conn.execution_options(isolation_level="AUTOCOMMIT")

    async def fetch(
        self, sql: str, values: Sequence[Any], share: AsyncEngine | None = None
    ) -> Sequence[Mapping[str, Any]]:
        """Rows of a statement that is SQL text already, by the driver: in no transaction, and a third of the work.

        Of the requests' share, unless told. Whoever listens to statements hears it as any other. Raises the driver's
        own errors.
        """
        engine = (share or self.engine).sync_engine
        pooled = await greenlet_spawn(engine.raw_connection)
        try:
            for listen in engine.dispatch.before_cursor_execute:
                listen(None, None, sql, values, None, False)
            driver: Any = pooled.driver_connection
            with spanned(sql):
                rows: list[Mapping[str, Any]] = await driver.fetch(sql, *values)
            return rows
        except BaseException:
            # Whoever was cancelled in the middle leaves a connection behind that nobody else may be given.
            await greenlet_spawn(pooled.invalidate)
            raise
        finally:
            await greenlet_spawn(pooled.close)

    async def close(self) -> None:
        for engine in self.engines:
            await engine.dispose()


def _pool(settings: Settings, application: str, *, size: int, wait: float) -> AsyncEngine:
    engine = create_async_engine(
        settings.sqlalchemy_url,
        pool_size=size,
        max_overflow=0,
        pool_timeout=wait,
        # The one that was used last is the one that needs no ping.
        pool_use_lifo=True,
        # What a statement was given holds secrets and people; errors are logged.
        hide_parameters=True,
        json_serializer=_dumps,
        json_deserializer=orjson.loads,
        connect_args={
            "timeout": CONNECT_SECONDS,
            "command_timeout": STATEMENT_SECONDS,
            "server_settings": {"application_name": application, "timezone": "UTC"},
        },
    )
    _ping_when_idle(engine.sync_engine)
    return engine


def _ping_when_idle(engine: Engine) -> None:
    """Replace connections that are dead before they are used, as `pool_pre_ping` does, without its price.

    A connection that was in use within the last second is only asked whether its socket was closed meanwhile, as it
    is when Postgres goes away; a longer silence may hide a broken line.
    """

    @event.listens_for(engine, "checkin")
    def note(_connection: Any, record: Any) -> None:
        record.info["idle_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def look(connection: Any, record: Any, _proxy: Any) -> None:
        if connection.driver_connection.is_closed():
            raise InvalidatePoolError
        idle_since = record.info.get("idle_since")
        if idle_since is None or time.monotonic() - idle_since < _FRESH:
            return
        try:
            _ping(connection)
        except Exception as error:
            raise InvalidatePoolError from error


def _ping(connection: Any) -> None:
    """One round trip. SQLAlchemy's own takes three, and waits for a silent peer as long as for any statement."""
    connection.run_async(lambda raw: raw.execute("SELECT", timeout=PING_SECONDS))


async def lock_subjects(conn: AsyncConnection, subjects: Iterable[UUID | str]) -> None:
    """Lock people for the rest of this transaction, in one order everywhere, so that no two wait for each other.

    Whatever decides about a person (ingestion, a wait that is armed, a merge, a deletion) holds this lock, so
    a decision always sees everything that was committed about them before it.
    """
    names = sorted({str(subject) for subject in subjects})
    if names:
        await conn.execute(_LOCK_SUBJECTS, {"subjects": names, "space": SUBJECT_LOCK_SPACE})


async def try_lock_subjects(conn: AsyncConnection, subjects: Iterable[UUID | str]) -> str | None:
    """The same without waiting: None where all are now held, else one of those that someone else holds."""
    return next(iter(await busy_subjects(conn, subjects)), None)


async def busy_subjects(conn: AsyncConnection, subjects: Iterable[UUID | str]) -> list[str]:
    """Lock, for the rest of this transaction, those that nobody holds; the names of the others, without waiting."""
    names = sorted({str(subject) for subject in subjects})
    if not names:
        return []
    missed = await conn.execute(_TRY_LOCK_SUBJECTS, {"subjects": names, "space": SUBJECT_LOCK_SPACE})
    return list(missed.scalars())
