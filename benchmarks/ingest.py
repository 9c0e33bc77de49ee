"""How fast events come in, one by one and by the batch, beside one hand-written statement an event (the floor).

    python -m benchmarks.ingest [--events 2000] [--rounds 3]

Each event is of a new person. The floor writes the same rows as far as one statement can: no guards, no locks, no
answers; it has as many connections as the load beside it, 20 for batches. In process, so without HTTP, against a
Postgres of its own on the same machine. The machine is noisy: compare the ratio, and only within one run; the two
alternate, and medians are shown.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import uuid4

from rich.console import Console
from rich.table import Table
from sqlalchemy import TextClause, text

from benchmarks.journeys import INGEST_FLOOR, bench_a, bench_b, bench_c
from benchmarks.servers import own_servers
from hogsend.boot import open_runtime
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.events.event import NewEvent
from hogsend.ingestion.batch import ingest_batch
from hogsend.ingestion.ingest import ingest
from hogsend.ingestion.pipeline import IngestResult
from hogsend.journeys.registry import Registry
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from hogsend.storage.migrate import migrate

MANY = 20
IN_A_BATCH = 100
SENDERS = 4
WITH_JOURNEYS, WITHOUT = "bench.signup", "bench.seen"

_FLOOR_WITHOUT = text("""
WITH contact AS (
    INSERT INTO contacts (id, email, first_seen_at, last_seen_at, created_at, updated_at)
    VALUES (gen_random_uuid(), :email, :now, :now, :now, :now) RETURNING id
), event AS (
    INSERT INTO user_events (id, occurred_at, contact_id, name, received_at)
    SELECT gen_random_uuid(), :now, id, 'bench.seen', :now FROM contact RETURNING id, contact_id
)
INSERT INTO activity (at, kind, type, ref_id, contact_id) SELECT :now, 'event', 'received', id, contact_id FROM event
""")
FLOORS = {WITH_JOURNEYS: INGEST_FLOOR, WITHOUT: _FLOOR_WITHOUT}


@dataclass(frozen=True)
class Load:
    """`at_once` callers; each sends `batch` events at a time, or single ones."""

    name: str
    at_once: int
    batch: int | None = None


LOADS = (
    Load("one connection", 1),
    Load(f"{MANY} connections", MANY),
    Load(f"batches of {IN_A_BATCH}, one sender", 1, IN_A_BATCH),
    Load(f"batches of {IN_A_BATCH}, {SENDERS} senders", SENDERS, IN_A_BATCH),
)


async def rate(count: int, at_once: int, events_each: int, work: Callable[[int], Awaitable[object]]) -> float:
    """How many events a second, where `work` is called `count / events_each` times."""
    queue = iter(range(count // events_each))

    async def take() -> None:
        for index in queue:
            await work(index)

    began = time.perf_counter()
    await asyncio.gather(*(take() for _ in range(at_once)))
    return count / (time.perf_counter() - began)


async def ours(runtime: Runtime, load: Load, name: str, count: int) -> float:
    mark = uuid4().hex[:8]

    async def single(index: int) -> None:
        await ingest(runtime, NewEvent(name=name, email=f"{mark}-{index}@example.com"))

    async def batch(index: int) -> None:
        people = range(index * IN_A_BATCH, (index + 1) * IN_A_BATCH)
        answers = await ingest_batch(
            runtime, [NewEvent(name=name, email=f"{mark}-{one}@example.com") for one in people]
        )
        assert all(isinstance(answer, IngestResult) and answer.stored for answer in answers)

    if load.batch is None:
        return await rate(count, load.at_once, 1, single)
    return await rate(count, load.at_once, load.batch, batch)


async def floor(runtime: Runtime, load: Load, statement: TextClause, count: int) -> float:
    mark = uuid4().hex[:8]

    async def one(index: int) -> None:
        async with runtime.database.transaction() as conn:
            await conn.execute(
                statement, {"email": f"{mark}-{index}@example.com", "now": runtime.clock.now()}
            )

    return await rate(count, MANY if load.batch else load.at_once, 1, one)


async def measure(settings: Settings, events: int, rounds: int) -> Table:
    table = Table("events a second", "load", "Hogsend", "floor", "of the floor")
    async with open_runtime(
        settings, registry=Registry([bench_a, bench_b, bench_c]), provider=MemoryProvider()
    ) as runtime:
        await migrate(runtime.database)
        for name, what in ((WITH_JOURNEYS, "three journeys match"), (WITHOUT, "none does")):
            for load in LOADS:
                pairs = [
                    (
                        await ours(runtime, load, name, events),
                        await floor(runtime, load, FLOORS[name], events),
                    )
                    for _ in range(rounds)
                ]
                mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
                table.add_row(what, load.name, f"{mine:,.0f}", f"{theirs:,.0f}", f"{mine / theirs:.2f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--events", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with own_servers(connections=MANY) as settings:
        Console().print(asyncio.run(measure(settings, options.events, options.rounds)))


if __name__ == "__main__":
    main()
