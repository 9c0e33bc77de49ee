"""What live streams cost: from a commit to the last of many clients, processor time a delivery, memory a client.

    python -m benchmarks.streams [--clients 3000] [--messages 20]
    python -m benchmarks.streams --soak SECONDS [--clients 2000] [--rate 200]

The first: all clients on one document, then a third as many on a document each, over WebSocket and over SSE, beside
Strawberry as it ships, told the same events over Redis. Clients are another process on the same machine. The second:
two processes, clients on the timelines of a hundred people, events at a fixed rate; every client's positions are
compared with those of the log.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import random
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg
import httpx
import psutil
import uvloop
from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table

from benchmarks.plain_strawberry import CHANNEL
from benchmarks.start import free_port, seconds_of
from benchmarks.stream_clients import Ask, Client, connect_all
from hogsend.storage.embedded import EmbeddedStack

ROOT = Path(__file__).parents[1]
KEY = "benchmark-" + secrets.token_hex(16)
EVENTS = "{ eventReceived { cursor event { name occurredAt contact { externalId email } } } }"
TIMELINE = "subscription ($who: String!) { contactTimeline(by: {externalId: $who}) { cursor kind at } }"
PEOPLE = 100
SETTLE_SECONDS = 3.0
PATIENCE = 120.0
_CURSOR = re.compile(rb'"cursor":"([A-Za-z0-9_-]+)"')
_APPEND = (
    "INSERT INTO activity (at, kind, type, ref_id, contact_id) VALUES (now(), 'event', 'received', $1, $2)"
)

Publish = Callable[[int], Awaitable[None]]


@dataclass(frozen=True)
class Figures:
    clients: int
    latencies: list[float]
    cpu_us: float
    kilobytes: float

    def row(self) -> tuple[str, ...]:
        ordered = sorted(self.latencies)
        p50, p99 = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
        return (
            f"{self.clients:,}",
            f"{p50 * 1000:.0f}",
            f"{p99 * 1000:.0f}",
            f"{self.cpu_us:.0f}",
            f"{self.kilobytes:.0f}",
        )


@contextmanager
def running(arguments: list[str], port: int, **environment: str) -> Iterator[psutil.Popen]:
    process = psutil.Popen(
        [sys.executable, "-m", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _until_up(port)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except psutil.TimeoutExpired:
            process.kill()


def _until_up(port: int) -> None:
    for _ in range(600):
        try:
            httpx.get(f"http://127.0.0.1:{port}/v1/health", timeout=5)
            return
        except httpx.HTTPError:
            time.sleep(0.05)
    raise SystemExit("the server did not come up")


def _environment(stack: EmbeddedStack, port: int) -> dict[str, str]:
    return {
        "DATABASE_URL": stack.database_url,
        "REDIS_URL": stack.redis_url,
        "ADMIN_API_KEY": KEY,
        "HOGSEND_SECRET_KEY": secrets.token_hex(32),
        "HOGSEND_EMAIL_PROVIDER": "inbox",
        "HOGSEND_RATE_LIMIT": "1000000",
        "HOGSEND_STREAMS_PER_KEY": "100000",
        "HOGSEND_STREAMS_PER_ADDRESS": "100000",
        "HOGSEND_SOCKETS_PER_ADDRESS": "100000",
        "HOGSEND_PORT": str(port),
    }


async def _people(port: int, stack: EmbeddedStack, count: int) -> list[tuple[str, UUID, UUID]]:
    """(external id, contact, event) of so many people."""
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as http:
        for number in range(count):
            body = {"name": "bench", "userId": f"user-{number}", "email": f"user-{number}@example.com"}
            (await http.post("/v1/events", json=body)).raise_for_status()
    conn = await asyncpg.connect(stack.database_url)
    rows = await conn.fetch(
        "SELECT c.external_id, c.id AS contact, e.id AS event"
        " FROM contacts c JOIN user_events e ON e.contact_id = c.id"
    )
    await conn.close()
    return [(row["external_id"], row["contact"], row["event"]) for row in rows]


class Rounds:
    """Counts deliveries of one message after the other, and when the last client heard it."""

    def __init__(self, clients: int) -> None:
        self._clients = clients
        self._left = 0
        self._done = asyncio.Event()
        self._last = 0.0

    def heard(self, _client: Client, _body: bytes) -> None:
        self._left -= 1
        if self._left == 0:
            self._last = time.perf_counter()
            self._done.set()

    async def one(self, publish: Publish, number: int) -> float:
        """Seconds from the commit to the last client."""
        self._left = self._clients
        self._done.clear()
        await publish(number)
        began = time.perf_counter()
        async with asyncio.timeout(PATIENCE):
            await self._done.wait()
        return self._last - began


async def measure(process: psutil.Process, asks: list[Ask], publish: Publish, messages: int) -> Figures:
    before = process.memory_info().rss
    rounds = Rounds(len(asks))
    clients = await connect_all(asks, rounds.heard)
    await asyncio.sleep(SETTLE_SECONDS)
    used = process.memory_info().rss - before
    for number in range(2):
        await rounds.one(publish, number)
    began = seconds_of(process)
    latencies = [await rounds.one(publish, number) for number in range(messages)]
    spent = seconds_of(process) - began
    for client in clients:
        client.transport.abort()
    await asyncio.sleep(SETTLE_SECONDS)
    deliveries = messages * len(asks)
    return Figures(len(asks), latencies, spent / deliveries * 1e6, used / len(asks) / 1024)


def _asks(port: int, count: int, *, distinct: bool, sse: bool) -> list[Ask]:
    names = [f"S{number if distinct else 0}" for number in range(count)]
    return [Ask(port, KEY, f"subscription {name} {EVENTS}", {}, sse) for name in names]


async def compare(stack: EmbeddedStack, ours: psutil.Process, port: int, options: argparse.Namespace) -> None:
    (_, contact, event), *_ = await _people(port, stack, 1)
    conn = await asyncpg.connect(stack.database_url)
    redis = Redis.from_url(stack.redis_url)

    async def commit(_number: int) -> None:
        await conn.execute(_APPEND, event, contact)

    async def tell(number: int) -> None:
        told = {"cursor": f"czE{number}", "name": "bench", "at": "2026-11-27T10:00:00+00:00"}
        await redis.publish(
            CHANNEL, json.dumps(told | {"externalId": "user-0", "email": "user-0@example.com"})
        )

    table = Table(
        "server", "documents", "over", "clients", "p50 ms", "p99 ms", "µs a delivery", "KiB a client"
    )
    for distinct in (False, True):
        count = options.clients // 3 if distinct else options.clients
        documents = "one each" if distinct else "one"
        for sse in (False, True):
            asks = _asks(port, count, distinct=distinct, sse=sse)
            figures = await measure(ours, asks, commit, options.messages)
            table.add_row("hogsend", documents, "SSE" if sse else "WebSocket", *figures.row())
        plain_port = free_port()
        with running(["benchmarks.plain_strawberry", str(plain_port), stack.redis_url], plain_port) as plain:
            asks = _asks(plain_port, count, distinct=distinct, sse=False)
            figures = await measure(plain, asks, tell, max(3, options.messages // 4))
            table.add_row("Strawberry", documents, "WebSocket", *figures.row())
    await conn.close()
    await redis.aclose()
    Console(width=120).print(table)


async def soak(
    stack: EmbeddedStack, processes: list[psutil.Process], ports: list[int], options: argparse.Namespace
) -> None:
    """Events at a fixed rate over two processes; afterwards each client's positions against the log's."""
    people = await _people(ports[0], stack, PEOPLE)
    contacts = {name: contact for name, contact, _ in people}
    conn = await asyncpg.connect(stack.database_url)
    await asyncio.sleep(SETTLE_SECONDS)
    start = await conn.fetchval("SELECT max(pos) FROM activity_order")

    def heard(client: Client, body: bytes) -> None:
        found = _CURSOR.search(body)
        assert found is not None
        text = base64.urlsafe_b64decode(found[1] + b"=" * (-len(found[1]) % 4))
        client.positions.append(int(text.split(b"~")[0][1:]))

    asks = [
        Ask(ports[number % 2], KEY, TIMELINE, {"who": people[number % PEOPLE][0]}, number % 4 >= 2)
        for number in range(options.clients)
    ]
    clients = await connect_all(asks, heard)
    await asyncio.sleep(SETTLE_SECONDS)
    began, written = time.monotonic(), 0
    shown = began
    while (passed := time.monotonic() - began) < options.soak:
        _, contact, event = random.choice(people)
        await conn.execute(_APPEND, event, contact)
        written += 1
        if time.monotonic() - shown >= 10:
            shown = time.monotonic()
            memory = ", ".join(f"{process.memory_info().rss / 2**20:.0f} MiB" for process in processes)
            print(f"{passed:5.0f} s  {written:,} events  {memory}", flush=True)
        await asyncio.sleep(max(0.0, began + written / options.rate - time.monotonic()))
    await asyncio.sleep(10)
    await _verdict(conn, clients, contacts, start, written)
    await conn.close()


async def _verdict(
    conn: asyncpg.Connection[asyncpg.Record],
    clients: list[Client],
    contacts: dict[str, UUID],
    start: int,
    written: int,
) -> None:
    expected: dict[UUID, list[int]] = defaultdict(list)
    rows = await conn.fetch(
        "SELECT pos, contact_id FROM activity_order JOIN activity USING (seq) WHERE pos > $1 ORDER BY pos",
        start,
    )
    for row in rows:
        expected[row["contact_id"]].append(row["pos"])
    missed = doubled = disordered = 0
    for client in clients:
        wanted = expected[contacts[client.ask.variables["who"]]]
        missed += len(set(wanted) - set(client.positions))
        doubled += len(client.positions) - len(set(client.positions))
        disordered += client.positions != sorted(client.positions)
    delivered = sum(len(client.positions) for client in clients)
    gone = sum(client.closed for client in clients)
    print(
        f"{written:,} events, {delivered:,} deliveries to {len(clients):,} clients: {missed} missed,"
        f" {doubled} doubled, {disordered} clients out of order, {gone} connections lost"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, help="3,000, or 2,000 with --soak")
    parser.add_argument("--messages", type=int, default=20)
    parser.add_argument("--soak", type=float, default=0, help="seconds")
    parser.add_argument("--rate", type=float, default=200, help="events a second with --soak")
    options = parser.parse_args()
    options.clients = options.clients or (2_000 if options.soak else 3_000)
    with (
        tempfile.TemporaryDirectory(prefix="hogsend-streams-") as folder,
        EmbeddedStack(Path(folder), throwaway=True) as stack,
        ExitStack() as servers,
    ):
        ports = [free_port() for _ in range(2 if options.soak else 1)]
        migrating = {**os.environ, "PYTHONPATH": str(ROOT), **_environment(stack, ports[0])}
        subprocess.run([sys.executable, "-m", "hogsend.cli", "migrate"], env=migrating, check=True)
        processes = [
            servers.enter_context(running(["hogsend.cli", "api"], port, **_environment(stack, port)))
            for port in ports
        ]
        if options.soak:
            uvloop.run(soak(stack, processes, ports, options))
        else:
            uvloop.run(compare(stack, processes[0], ports[0], options))


if __name__ == "__main__":
    main()
