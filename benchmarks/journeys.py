"""How fast events come in and runs go on, each beside the same rows written by hand in SQL (the floor).

    python -m benchmarks.journeys [--events 2000] [--runs 1000] [--sleepers 10000] [--rounds 3]

Everything runs against a Postgres of its own. The machine is noisy: compare the ratio, and only within one run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from benchmarks.servers import own_servers
from hogsend import Context, User, days, hours, journey
from hogsend.boot import open_runtime
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.events.event import NewEvent
from hogsend.execution.advance import advance
from hogsend.execution.due_runs import due_runs
from hogsend.ingestion.ingest import ingest
from hogsend.journeys.registry import Registry
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from hogsend.storage.migrate import migrate
from worker.main import embedded_worker

CONNECTIONS = 10


@journey(id="bench-a", trigger="bench.signup", entry="unlimited")
async def bench_a(user: User, ctx: Context) -> None:
    await ctx.sleep(days(2))


@journey(id="bench-b", trigger="bench.signup", entry="unlimited")
async def bench_b(user: User, ctx: Context) -> None:
    await ctx.wait_for_event("bench.go", timeout=days(3))


@journey(id="bench-c", trigger="bench.signup", entry="unlimited")
async def bench_c(user: User, ctx: Context) -> None:
    await ctx.sleep(hours(1))
    await ctx.checkpoint("awake")


@journey(id="bench-nap", trigger="bench.nap", entry="unlimited")
async def bench_nap(user: User, ctx: Context) -> None:
    await ctx.sleep(timedelta(seconds=float(ctx.event.properties["seconds"])))
    await ctx.once("woke", _nothing)


async def _nothing() -> None:
    return None


INGEST_FLOOR = text("""
WITH contact AS (
    INSERT INTO contacts (id, email, first_seen_at, last_seen_at, created_at, updated_at)
    VALUES (gen_random_uuid(), :email, :now, :now, :now, :now) RETURNING id
), event AS (
    INSERT INTO user_events (id, occurred_at, contact_id, name, received_at)
    SELECT gen_random_uuid(), :now, id, 'bench.signup', :now FROM contact RETURNING id, contact_id, seq
), run AS (
    INSERT INTO journey_states (id, journey_id, contact_id, email, version, wake_at, trigger_event_id,
                                created_at, updated_at)
    SELECT gen_random_uuid(), 'floor-' || g, contact_id, :email, 'v', :now, event.id, :now, :now
    FROM event, generate_series(1, 3) g RETURNING id, journey_id, contact_id
), verdict AS (
    INSERT INTO decisions (id, at, kind, reason, contact_id, journey_id, state_id)
    SELECT gen_random_uuid(), :now, 'enrolled', 'trigger_matched', contact_id, journey_id, id FROM run
), log AS (
    INSERT INTO activity (at, kind, type, ref_id, contact_id)
    SELECT :now, 'event', 'received', id, contact_id FROM event
    UNION ALL SELECT :now, k, 'x', run.id, contact_id FROM run, unnest(ARRAY['state', 'decision']) k
)
INSERT INTO outbox (topic, payload, created_at, available_at, published_at)
SELECT 'floor', jsonb_build_object('run_id', id), :now, :now, :now FROM run
""")

ADVANCE_FLOOR = (
    text(
        "UPDATE journey_states SET epoch = epoch + 1, status = 'active', lease_owner = 'x', lease_until = :later"
        " WHERE id = :id AND status IN ('pending', 'active', 'waiting')"
    ),
    text("""
    WITH step AS (
        INSERT INTO journey_steps (id, state_id, key, seq, kind, label, fingerprint, status, deadline, epoch, opened_at)
        VALUES (gen_random_uuid(), :id, 'sleep:2d#1', 0, 'sleep', '2d', 'f', 'open', :later, 1, :now)
    ), verdict AS (
        INSERT INTO decisions (id, at, kind, reason, state_id)
        VALUES (gen_random_uuid(), :now, 'waiting', 'sleeping', :id)
    )
    INSERT INTO activity (at, kind, type, ref_id) VALUES (:now, 'decision', 'waiting', :id)
    """),
    text(
        "UPDATE journey_states SET status = 'waiting', wake_at = :later, lease_owner = NULL, lease_until = NULL"
        " WHERE id = :id"
    ),
)


async def rate(count: int, work: Callable[[int], Awaitable[object]]) -> float:
    """How many a second, from CONNECTIONS tasks at once."""
    queue = iter(range(count))

    async def take() -> None:
        for index in queue:
            await work(index)

    began = time.perf_counter()
    await asyncio.gather(*(take() for _ in range(CONNECTIONS)))
    return count / (time.perf_counter() - began)


async def measure_ingest(runtime: Runtime, count: int) -> tuple[float, float]:
    mark = uuid4().hex[:8]

    async def ours(index: int) -> None:
        await ingest(runtime, NewEvent(name="bench.signup", email=f"{mark}-{index}@example.com"))

    async def floor(index: int) -> None:
        async with runtime.database.transaction() as conn:
            values = {"email": f"{mark}-floor-{index}@example.com", "now": runtime.clock.now()}
            await conn.execute(INGEST_FLOOR, values)

    return await rate(count, ours), await rate(count, floor)


async def measure_advance(runtime: Runtime, count: int) -> tuple[float, float]:
    await _exec(runtime, "DELETE FROM journey_states WHERE journey_id LIKE 'floor-%'")
    mark = uuid4().hex[:8]
    for index in range(count // 3 + 1):
        await ingest(runtime, NewEvent(name="bench.signup", email=f"{mark}-run-{index}@example.com"))
    due = await due_runs(runtime, count)
    ours = await rate(len(due), lambda index: advance(runtime, due[index], "bench"))
    await _exec(runtime, "DELETE FROM journey_steps")

    async def floor(index: int) -> None:
        now = runtime.clock.now()
        values = {"id": due[index], "now": now, "later": now + days(2)}
        for statement in ADVANCE_FLOOR:
            async with runtime.database.transaction() as conn:
                await conn.execute(statement, {k: v for k, v in values.items() if f":{k}" in statement.text})

    return ours, await rate(len(due), floor)


async def measure_lateness(runtime: Runtime, count: int) -> list[float]:
    """Milliseconds between the instant a run is due and the instant its next step closed."""
    worker = embedded_worker(runtime)
    working = asyncio.create_task(worker.run())
    for index in range(count):
        event = NewEvent(
            name="bench.nap",
            email=f"nap-{uuid4().hex}@example.com",
            properties={"seconds": 3 + index * 5 / count},
        )
        await ingest(runtime, event)
    query = (
        "SELECT extract(epoch FROM o.closed_at - s.deadline) * 1000 AS late FROM journey_steps s"
        " JOIN journey_steps o ON o.state_id = s.state_id AND o.kind = 'once' WHERE s.kind = 'sleep'"
    )
    late: list[float] = []
    while len(late) < count:
        await asyncio.sleep(0.5)
        async with runtime.database.read() as conn:
            late = [float(row.late) for row in await conn.execute(text(query))]
    worker.stop()
    await working
    return late


async def measure_sleepers(runtime: Runtime, count: int) -> tuple[float, float]:
    """Resident memory (MiB) of a working worker before and after `count` runs are parked for two days."""
    now = runtime.clock.now()
    await _exec(
        runtime,
        "WITH c AS (INSERT INTO contacts (id, email, first_seen_at, last_seen_at, created_at, updated_at)"
        " SELECT gen_random_uuid(), 'sleeper-' || g || '@example.com', :now, :now, :now, :now"
        " FROM generate_series(1, :count) g RETURNING id)"
        " INSERT INTO journey_states"
        " (id, journey_id, contact_id, email, version, wake_at, input, created_at, updated_at)"
        " SELECT gen_random_uuid(), 'bench-a', id, 'x', 'v', :now, jsonb_build_object('user', jsonb_build_object("
        "'id', id, 'external_id', NULL, 'email', 'x', 'properties', '{}'::jsonb), 'event', jsonb_build_object("
        "'id', id, 'name', 'bench.signup', 'properties', '{}'::jsonb, 'occurred_at', '2026-01-01T00:00:00+00:00')),"
        " :now, :now FROM c",
        now=now,
        count=count,
    )
    worker = embedded_worker(runtime)
    working = asyncio.create_task(worker.run())
    await asyncio.sleep(2)
    before = resident()
    while True:
        async with runtime.database.read() as conn:
            left = (
                await conn.execute(
                    text(
                        "SELECT count(*) FROM journey_states WHERE status <> 'waiting' AND journey_id = 'bench-a'"
                    )
                )
            ).scalar_one()
        if left == 0:
            break
        await asyncio.sleep(0.5)
    after = resident()
    worker.stop()
    await working
    return before, after


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
    if pages:
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


async def _exec(runtime: Runtime, sql: str, **values: object) -> None:
    async with runtime.database.transaction() as conn:
        await conn.execute(text(sql), values)


def main(options: argparse.Namespace) -> None:
    with own_servers(connections=CONNECTIONS) as settings:
        Console().print(asyncio.run(measure(settings, options)))


async def measure(settings: Settings, options: argparse.Namespace) -> Table:
    table = Table("what", "Hogsend", "floor (SQL by hand)", "of the floor")
    async with AsyncExitStack() as stack:
        runtime = await stack.enter_async_context(
            open_runtime(
                settings,
                registry=Registry([bench_a, bench_b, bench_c, bench_nap]),
                provider=MemoryProvider(),
            )
        )
        await migrate(runtime.database)
        for name, compare, count in (
            ("events a second, three journeys match", measure_ingest, options.events),
            ("runs advanced a second, to a sleep", measure_advance, options.runs),
        ):
            rounds = [await compare(runtime, count) for _ in range(options.rounds)]
            ours, floor = (statistics.median(column) for column in zip(*rounds, strict=True))
            table.add_row(name, f"{ours:,.0f}", f"{floor:,.0f}", f"{ours / floor:.2f}")
        await _exec(runtime, "TRUNCATE journey_states, outbox CASCADE")
        late = sorted(await measure_lateness(runtime, 300))
        p50, p99 = late[len(late) // 2], late[int(len(late) * 0.99)]
        table.add_row("wake-up lateness p50 / p99, 300 runs", f"{p50:.0f} / {p99:.0f} ms", "", "")
        before, after = await measure_sleepers(runtime, options.sleepers)
        table.add_row(
            f"worker memory, 0 / {options.sleepers:,} sleepers", f"{before:.0f} / {after:.0f} MiB", "", ""
        )
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--events", type=int, default=2_000)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--sleepers", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    main(parser.parse_args())
