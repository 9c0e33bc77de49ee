"""How the process and what it stands on are doing: its health, for people, and whether it should get work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Any, Literal

from sqlalchemy import text

from hogsend.runtime import Runtime
from hogsend.storage.bounded_wait import at_most
from hogsend.storage.migrate import SchemaStatus, schema_status

LONGEST_CHECK = 2.0
FRESH_SECONDS = 1.0


@dataclass(frozen=True)
class Component:
    """One thing that Hogsend stands on. `latency_ms` is of one round trip, 0 where it is down."""

    up: bool
    latency_ms: float


@dataclass(frozen=True)
class Health:
    """`uptime` is of this process. `schema` is None where the database is down."""

    status: Literal["healthy", "degraded", "migration_pending"]
    uptime: timedelta
    at: datetime
    version: str
    database: Component
    redis: Component
    engine: Component
    schema: SchemaStatus | None


@dataclass(frozen=True)
class Dependency:
    """One thing that Hogsend stands on. Without one that is not `required` it goes on (docs/outages.md)."""

    name: str
    up: bool
    required: bool


@dataclass(frozen=True)
class Readiness:
    """Whether this process should get work; `reasons` against it are sentences."""

    ready: bool
    reasons: tuple[str, ...]
    dependencies: tuple[Dependency, ...]


class Uptime:
    """Remembers when this process began to serve."""

    def __init__(self, runtime: Runtime) -> None:
        self.since = runtime.clock.wall()

    async def close(self) -> None:
        """Nothing to close."""


async def check_health(runtime: Runtime) -> Health:
    """Ask each part, at once, for at most two seconds. Never raises for a part that is down."""
    found: list[SchemaStatus] = []

    async def database() -> None:
        async with runtime.database.health.connect() as conn:
            await conn.execute(text("SELECT 1"))

    async def schema() -> None:
        async with runtime.database.health.connect() as conn:
            found.append(await schema_status(conn))

    async def redis() -> None:
        await runtime.redis.ping()

    components = list(await asyncio.gather(_timed(database), _timed(redis), _engine(runtime), _timed(schema)))
    status = found[0] if found else None
    wall = runtime.clock.wall()
    return Health(
        status=_status(components[:3], status),
        uptime=wall - runtime.part(Uptime).since,
        at=wall,
        version=version("hogsend"),
        database=components[0],
        redis=components[1],
        engine=components[2],
        schema=status,
    )


class _LastLook:
    """What was found a moment ago: whoever asks often does not ask Postgres as often."""

    def __init__(self, _runtime: Runtime) -> None:
        self.found: Readiness | None = None
        self.until = 0.0
        self.one_at_a_time = asyncio.Lock()

    async def close(self) -> None:
        """Nothing is held open."""


async def readiness(runtime: Runtime) -> Readiness:
    """Whether this process should get work: its database answers, and has the tables that the code needs.

    Redis and the engine are told of, and no reason: what they are for waits, or goes on without. Asked again where
    the last look is a second old. Never raises.
    """
    last = runtime.part(_LastLook)
    async with last.one_at_a_time:
        loop = asyncio.get_running_loop()
        if last.found is None or loop.time() >= last.until:
            last.found = _readiness(await check_health(runtime))
            last.until = loop.time() + FRESH_SECONDS
        return last.found


def _readiness(health: Health) -> Readiness:
    schema = health.schema
    reasons = []
    if not health.database.up:
        reasons.append("Postgres does not answer")
    elif schema is None:
        reasons.append("Postgres does not say which revision its tables have")
    elif schema.is_behind:
        reasons.append(f"The database lacks revision {schema.pending[0]}: run `hogsend migrate`")
    dependencies = (
        Dependency("database", health.database.up, required=True),
        Dependency("redis", health.redis.up, required=False),
        Dependency("engine", health.engine.up, required=False),
    )
    return Readiness(not reasons, tuple(reasons), dependencies)


def _status(
    components: list[Component], schema: SchemaStatus | None
) -> Literal["healthy", "degraded", "migration_pending"]:
    if not all(component.up for component in components):
        return "degraded"
    return "healthy" if schema is not None and schema.in_sync else "migration_pending"


async def _timed(check: Callable[[], Coroutine[Any, Any, None]]) -> Component:
    started = time.perf_counter()
    try:
        await at_most(LONGEST_CHECK, check())
    except Exception:
        # Whatever keeps it from answering, the answer to "is it up" is no; those who need it log why.
        return Component(False, 0.0)
    return Component(True, round((time.perf_counter() - started) * 1000, 2))


async def _engine(runtime: Runtime) -> Component:
    try:
        health = await at_most(LONGEST_CHECK, runtime.engine.health())
    except Exception:
        return Component(False, 0.0)
    return Component(health.up, round(health.latency_ms, 2))
