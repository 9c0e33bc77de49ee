"""What reads cost: through plans, through graphql-core alone, and by hand (the floor), in one run.

    python -m benchmarks.reads [--contacts 20000] [--events 400000] [--seconds 1] [--rounds 3] [--before TREE]

Every operation is asked of each server in turn, at 1 and at 16 connections; given are medians of the rounds. Processor
time is of the server and of its Postgres together. All must answer the same before anything is measured. `--before`
adds the API of another tree.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import asyncpg
from rich.console import Console
from rich.table import Table

from hogsend.storage.embedded import EmbeddedStack

HERE = Path(__file__).parents[1]
KEY = "bench-key-that-is-long-enough"
CONNECTIONS = (1, 16)
START_SECONDS = 60.0
TICKS = os.sysconf("SC_CLK_TCK")
PLANS, CORE, FLOOR = "plans", "graphql-core", "by hand"
# Runs `hogsend api` with plans left out.
WITHOUT_PLANS = """
import functools
from hogsend.serving import execution
execution.Executor.__init__ = functools.partialmethod(execution.Executor.__init__, planned=False)
from hogsend.cli import main
main()
"""

ENTRY = """__typename id at
  ... on EventReceived { event { name properties occurredAt } }
  ... on EmailActivity { activity email { templateKey subject status sentAt } }
  ... on JourneyProgress { progress state { journeyId status } }
  ... on DecisionMade { decision { kind reason } }"""
PREFERENCES = "preferences { unsubscribedAll suppressed bounceCount categories }"
OVERVIEW = """totalContacts activeJourneys emailsSent24h emailsSent7d emailsSent30d bounceRate30d
  unsubscribeRate"""

GRAPHQL: dict[str, tuple[str, dict[str, Any]]] = {
    "People": (
        f"""query People($n: Int!, $t: Int!) {{ contacts(first: $n) {{ nodes {{
          id externalId email properties lastSeenAt {PREFERENCES}
          timeline(first: $t) {{ nodes {{ {ENTRY} }} }} }} }} }}""",
        {"n": 50, "t": 20},
    ),
    "Timeline": (
        f"""query Timeline($x: String!, $t: Int!) {{ contact(by: {{ externalId: $x }}) {{
          id externalId email timeline(first: $t) {{ nodes {{ {ENTRY} }} }} }} }}""",
        {"x": "user77", "t": 50},
    ),
    "Emails": (
        """query Emails($n: Int!) { emails(first: $n) { nodes {
          id templateKey subject toEmail status sentAt deliveredAt openedAt clickedAt
          contact { id externalId email } state { id journeyId status currentNodeId } } } }""",
        {"n": 100},
    ),
    "Search": (
        """query Search($search: String!) { contacts(filter: { search: $search }, first: 50) { nodes {
          id externalId email lastSeenAt } } }""",
        {"search": "user77"},
    ),
    "Overview": (f"query Overview {{ metrics {{ overview {{ {OVERVIEW} }} }} }}", {}),
    "Person": (
        f"""query Person($x: String!) {{ contact(by: {{ externalId: $x }}) {{
          id externalId email properties firstSeenAt lastSeenAt {PREFERENCES}
          events(first: 10) {{ nodes {{ name properties occurredAt }} }}
          journeyStates(first: 10) {{ nodes {{ journeyId createdAt status }} }}
          emails(first: 10) {{ nodes {{ subject createdAt status }} }}
          decisions(first: 10) {{ nodes {{ reason at kind }} }} }} }}""",
        {"x": "user77"},
    ),
}
REST: dict[str, tuple[str, dict[str, Any]]] = {
    "GET /contacts?search": ("/v1/admin/contacts", {"search": "user77", "limit": 50}),
    "GET /contacts/{id}/timeline": ("/v1/admin/contacts/user77/timeline", {"limit": 50}),
    "the same, of the busiest": ("/v1/admin/contacts/user0/timeline", {"limit": 50}),
    "GET /metrics/overview": ("/v1/admin/metrics/overview", {}),
}
# Counts of the last hours, which the floor leaves as they were when it started.
MOVING = ("Overview", "GET /metrics/overview")


@dataclass(frozen=True)
class Server:
    name: str
    port: int
    pid: int


@dataclass(frozen=True)
class Cell:
    """One server, one operation, so many connections: ms until an answer, answers a second, ms of processors each."""

    p50: float
    answers: float
    cpu: float


def requests() -> dict[str, bytes]:
    """The operations as HTTP has them."""
    made = {}
    for name, (document, variables) in GRAPHQL.items():
        body = json.dumps({"query": document, "variables": variables, "operationName": name})
        made[name] = _request("POST", "/graphql", body)
    for name, (path, query) in REST.items():
        made[name] = _request("GET", f"{path}?{urlencode(query)}" if query else path)
    return made


def _request(method: str, path: str, body: str = "") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {KEY}"]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body.encode())}"]
    return "\r\n".join([*lines, "", body]).encode()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    """The body of one answer. Raises where it is not 200."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.split("content-length: ")[1].split("\r\n")[0])
    body = await reader.readexactly(length)
    if " 200 " not in head.split("\r\n")[0]:
        raise RuntimeError(f"{head.splitlines()[0]}: {body[:300]!r}")
    return body


async def once(server: Server, request: bytes) -> Any:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        answer = json.loads(await ask(reader, writer, request))
    finally:
        writer.close()
    if "errors" in answer:
        raise RuntimeError(f"{server.name}: {answer['errors']}")
    return answer.get("data", answer)


def difference(one: Any, other: Any, path: str = "") -> str:
    """Where two answers first differ, and how; empty where they do not."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return next(filter(None, (difference(one[key], other[key], f"{path}.{key}") for key in one)), "")
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return next(filter(None, (difference(*pair, f"{path}.{place}") for place, pair in pairs)), "")
    return "" if one == other else f"{path}: {one!r:.200} is not {other!r:.200}"


async def measured(stack: Backends, server: Server, request: bytes, connections: int, seconds: float) -> Cell:
    took: list[float] = []
    before, began = await stack.seconds(server), time.perf_counter()

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        while (now := time.perf_counter()) < began + seconds:
            await ask(reader, writer, request)
            took.append(time.perf_counter() - now)
        writer.close()

    await asyncio.gather(*[client() for _ in range(connections)])
    lasted = time.perf_counter() - began
    spent = await stack.seconds(server) - before
    return Cell(statistics.median(took) * 1000, len(took) / lasted, spent / len(took) * 1000)


class Backends:
    """Postgres' processes that serve the database."""

    def __init__(self, conn: Any) -> None:
        self._conn = conn

    async def seconds(self, server: Server) -> float:
        """Processor time so far, of the server and of these."""
        rows = await self._conn.fetch(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        running = [_fields(pid) for pid in [server.pid, *(row["pid"] for row in rows)]]
        # Those that ended since are counted with the one that started them.
        [started] = await self._conn.fetch("SELECT pg_read_file('postmaster.pid') AS file")
        ended = _fields(int(started["file"].split()[0]))
        spent = sum(int(fields[11]) + int(fields[12]) for fields in running if fields)
        return (spent + int(ended[13]) + int(ended[14])) / TICKS


def _fields(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return []


@contextmanager
def serving(
    name: str, arguments: Sequence[str], environment: Mapping[str, str], tree: Path
) -> Iterator[Server]:
    """`python ARGUMENTS` with a port of its own, from when it answers to the end of the block."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    given = [argument.replace("PORT", str(port)) for argument in arguments]
    process = subprocess.Popen(
        [sys.executable, *given],
        cwd=tree,
        env={**os.environ, **environment, "HOGSEND_PORT": str(port), "PYTHONPATH": str(tree)},
        stdout=subprocess.DEVNULL,
    )
    try:
        _await_open(port, process)
        yield Server(name, port, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _await_open(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} did not begin to listen")


async def compare(
    servers: Sequence[Server], url: str, seconds: float, rounds: int, wanted: Sequence[str]
) -> Table:
    table = Table("operation", "connections", *(server.name for server in servers), caption="p50 ms / CPU ms")
    conn = await asyncpg.connect(url)
    backends = Backends(conn)
    for name, request in requests().items():
        if wanted and name not in wanted:
            continue
        answers = [await once(server, request) for server in servers for _ in range(3)]
        for place, answer in enumerate(answers):
            if answer != answers[0] and name not in MOVING:
                raise SystemExit(
                    f"{name}: {servers[place // 3].name} differs: {difference(answers[0], answer)}"
                )
        for connections in CONNECTIONS:
            cells: dict[str, list[Cell]] = {server.name: [] for server in servers}
            for number in range(rounds):
                for server in servers if number % 2 else servers[::-1]:
                    cells[server.name].append(await measured(backends, server, request, connections, seconds))
            table.add_row(name, str(connections), *(_told(cells[server.name]) for server in servers))
    await conn.close()
    return table


def _told(cells: Sequence[Cell]) -> str:
    p50, cpu = (statistics.median(getattr(one, field) for one in cells) for field in ("p50", "cpu"))
    return f"{p50:.1f} / {cpu:.1f}"


def run(url: str, redis: str, given: argparse.Namespace) -> None:
    environment = {
        "DATABASE_URL": url,
        "REDIS_URL": redis,
        "ADMIN_API_KEY": KEY,
        "HOGSEND_SECRET_KEY": "s" * 64,
        "HOGSEND_EMAIL_PROVIDER": "inbox",
        "HOGSEND_RATE_LIMIT": "100000000",
    }
    api = ("-m", "hogsend.cli", "api")
    wanted: list[tuple[str, Sequence[str], Path]] = [
        (PLANS, api, HERE),
        (CORE, ("-c", WITHOUT_PLANS, "api"), HERE),
        (FLOOR, ("-m", "benchmarks.by_hand", "PORT"), HERE),
    ]
    if given.before:
        wanted.append(("before", api, given.before.resolve()))
    with ExitStack() as started:
        servers = [
            started.enter_context(serving(name, arguments, environment, tree))
            for name, arguments, tree in wanted
        ]
        load = os.getloadavg()[0]
        table = asyncio.run(compare(servers, url, given.seconds, given.rounds, given.only))
        Console(width=140).print(table, f"load {load:.1f} before, {os.getloadavg()[0]:.1f} after")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--contacts", type=int, default=20_000)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each server, a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", type=Path, help="another tree, whose API is measured as well")
    parser.add_argument("--only", nargs="*", default=(), help="names of operations")
    parser.add_argument("--seeded", action="store_true", help="use DATABASE_URL and REDIS_URL as they are")
    given = parser.parse_args()
    if given.seeded:
        run(os.environ["DATABASE_URL"], os.environ["REDIS_URL"], given)
        return
    with (
        tempfile.TemporaryDirectory(prefix="hogsend-reads-") as directory,
        EmbeddedStack(Path(directory), throwaway=True) as stack,
    ):
        seed = ("--contacts", str(given.contacts), "--events", str(given.events))
        subprocess.run(
            [sys.executable, "-m", "benchmarks.seed", *seed],
            env=os.environ | {"DATABASE_URL": stack.database_url, "REDIS_URL": stack.redis_url},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        run(stack.database_url, stack.redis_url, given)


if __name__ == "__main__":
    main()
