"""What one caller can do to the others: the longest gap between answers of `/v1/health` while it tries.

    python -m benchmarks.hostile [--before ../before] [--only NAME]

Starts a Postgres, a Valkey and `hogsend api` of this tree, and of the one in `--before` too, one after the
other for each request. Everything goes to loopback, is bounded in count and time, and ends by itself. A second
process asks for `/v1/health` every five milliseconds; a gap is the time between two of its answers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from hogsend.storage.embedded import EmbeddedStack

ROOT = Path(__file__).parents[1]
KEY = "benchmark-" + secrets.token_hex(16)
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}
PEOPLE = 5_000
PATIENCE = 30.0


@dataclass(frozen=True)
class Target:
    port: int

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}/graphql"


Attack = Callable[[Target], Awaitable[str]]
ATTACKS: dict[str, Attack] = {}


def attack(name: str) -> Callable[[Attack], Attack]:
    def named(function: Attack) -> Attack:
        ATTACKS[name] = function
        return function

    return named


@attack("quiet")
async def _quiet(_target: Target) -> str:
    await asyncio.sleep(2)
    return ""


@attack("connection_init of 15 MB, no key")
async def _init(target: Target) -> str:
    payload = {"type": "connection_init", "payload": {"padding": list(range(1_900_000))}}
    return await _socket(target, json.dumps(payload))


@attack("connection_init of 15 MB of [[[…, no key")
async def _deep_init(target: Target) -> str:
    return await _socket(target, '{"type":"connection_init","payload":{"p":' + "[]," * 5_000_000)


@attack("8 M numbers in variables")
async def _numbers(target: Target) -> str:
    body = b'{"query":"{viewer{name}}","variables":{"n":[' + b"1," * 7_900_000 + b"1]}}"
    return await _post(target, "/graphql", body)


@attack("1 MB of [],[],… on /v1/events")
async def _brackets(target: Target) -> str:
    body = b'{"name":"x","email":"a@example.com","eventProperties":{"p":[' + b"[]," * 349_000 + b"[]]}}"
    return await _post(target, "/v1/events", body[: 2**20 - 100] if len(body) > 2**20 else body)


@attack("{viewer{name} 480 times}, ten times")
async def _repeated(target: Target) -> str:
    body = json.dumps({"query": "{" + "viewer{name} " * 480 + "}"}).encode()
    return await _post(target, "/graphql", body, times=10)


@attack("400 aliases, ten times, each time others")
async def _aliases(target: Target) -> str:
    answers = []
    for number in range(10):
        query = "{" + " ".join(f"a{number}_{i}:viewer{{name}}" for i in range(400)) + "}"
        answers.append(await _post(target, "/graphql", json.dumps({"query": query}).encode()))
    return answers[-1]


@attack("30 times __schema, five times")
async def _introspection(target: Target) -> str:
    inner = "{types{name fields{name args{name type{name}} type{name ofType{name}}}}}"
    query = "{" + " ".join(f"s{i}:__schema{inner}" for i in range(30)) + "}"
    return await _post(target, "/graphql", json.dumps({"query": query}).encode(), times=5)


@attack("fragments that spread one another, five times")
async def _fragments(target: Target) -> str:
    names = [f"f{i}" for i in range(60)]
    parts = [
        f"fragment {n} on Query {{ {' '.join(f'...{m}' for m in names[i + 1 :])} viewer{{name}} }}"
        for i, n in enumerate(names)
    ]
    query = "{ ...f0 } " + " ".join(parts)
    return await _post(target, "/graphql", json.dumps({"query": query}).encode(), times=5)


@attack("15 exports that are not read")
async def _exports(target: Target) -> str:
    readers = [_stalled(target) for _ in range(15)]
    try:
        await asyncio.sleep(1)
        async with httpx.AsyncClient(base_url=target.http, headers=AUTHORIZED, timeout=PATIENCE) as client:
            others = [(await client.get("/v1/admin/contacts?limit=1")).status_code for _ in range(5)]
        return f"others hear {sorted(set(others))}"
    finally:
        for reader in readers:
            reader.close()


@attack("60 connections of unknown keys")
async def _unknown_keys(target: Target) -> str:
    until = time.monotonic() + 4

    async def one() -> int:
        tried = 0
        async with httpx.AsyncClient(base_url=target.http, timeout=PATIENCE) as client:
            while time.monotonic() < until and tried < 2_000:
                key = "hsk_" + secrets.token_urlsafe(32)
                with suppress(httpx.HTTPError):
                    await client.get("/v1/admin/contacts", headers={"Authorization": f"Bearer {key}"})
                tried += 1
        return tried

    return f"{sum(await asyncio.gather(*(one() for _ in range(60))))} tries"


@attack("300 subscriptions opened at once")
async def _subscriptions(target: Target) -> str:
    async def one() -> str:
        async with connect(target.ws, subprotocols=["graphql-transport-ws"], open_timeout=PATIENCE) as ws:  # type: ignore[list-item]
            await ws.send(
                json.dumps(
                    {"type": "connection_init", "payload": {"authorization": AUTHORIZED["Authorization"]}}
                )
            )
            await ws.recv()
            query = "subscription { eventReceived { event { name } } }"
            await ws.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": query}}))
            with suppress(TimeoutError):
                async with asyncio.timeout(6):
                    return str(json.loads(await ws.recv())["type"])
            return "open"

    heard = await asyncio.gather(*(one() for _ in range(300)), return_exceptions=True)
    words = [one if isinstance(one, str) else type(one).__name__ for one in heard]
    return ", ".join(f"{word} {words.count(word)}" for word in sorted(set(words)))


async def _post(target: Target, path: str, body: bytes, times: int = 1) -> str:
    headers = AUTHORIZED | {"Content-Type": "application/json"}
    status = 0
    async with httpx.AsyncClient(base_url=target.http, headers=headers, timeout=PATIENCE) as client:
        for _ in range(times):
            try:
                status = (await client.post(path, content=body)).status_code
            except httpx.HTTPError as error:
                return type(error).__name__
    return str(status)


async def _socket(target: Target, message: str) -> str:
    try:
        async with connect(target.ws, subprotocols=["graphql-transport-ws"], max_size=None) as ws:  # type: ignore[list-item]
            await ws.send(message)
            async with asyncio.timeout(PATIENCE):
                await ws.recv()
        return "answered"
    except WebSocketException as error:
        return str(error)[:60]
    except (OSError, TimeoutError) as error:
        return type(error).__name__


def _stalled(target: Target) -> socket.socket:
    """A connection that asks for an export and reads none of it."""
    reader = socket.create_connection(("127.0.0.1", target.port))
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    request = (
        "GET /v1/admin/contacts/export?format=json HTTP/1.1\r\n"
        f"Host: localhost\r\nAuthorization: Bearer {KEY}\r\n\r\n"
    )
    reader.sendall(request.encode())
    return reader


def _probe(port: int, control: Connection) -> None:
    """Ask for health until told to stop; send back the seconds of each answer and the longest gap between two."""
    took, gap = [], 0.0
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        client.get("/v1/health")
        control.send("ready")
        last = time.monotonic()
        while not control.poll():
            asked = time.monotonic()
            with suppress(httpx.HTTPError):
                client.get("/v1/health")
            now = time.monotonic()
            took.append(now - asked)
            gap, last = max(gap, now - last), now
            time.sleep(0.005)
    control.send((gap, statistics.median(took) if took else 0.0))


def measured(target: Target, attack: Attack) -> tuple[float, float, str]:
    """The longest gap and the median answer of health, in seconds, and what the attacker heard."""
    ours, theirs = multiprocessing.Pipe()
    prober = multiprocessing.Process(target=_probe, args=(target.port, theirs))
    prober.start()
    ours.recv()
    heard = asyncio.run(attack(target))
    time.sleep(0.2)
    ours.send("stop")
    gap, median = ours.recv()
    prober.join()
    return gap, median, heard


@contextmanager
def api(tree: Path) -> Iterator[Target]:
    """`hogsend api` of a tree on servers of its own, with some contacts to export."""
    with (
        tempfile.TemporaryDirectory(prefix="hogsend-hostile-") as directory,
        EmbeddedStack(Path(directory), throwaway=True) as stack,
    ):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        environment = os.environ | {
            "PYTHONPATH": str(tree),
            "DATABASE_URL": stack.database_url,
            "REDIS_URL": stack.redis_url,
            "ADMIN_API_KEY": KEY,
            "HOGSEND_SECRET_KEY": secrets.token_hex(32),
            "HOGSEND_EMAIL_PROVIDER": "inbox",
            "HOGSEND_RATE_LIMIT": "100000",
            "HOGSEND_PORT": str(port),
        }
        run = [sys.executable, "-m", "hogsend.cli"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([*run, "migrate"], env=environment, check=True, cwd=directory, **quiet)  # type: ignore[call-overload]
        seed = [sys.executable, "-m", "benchmarks.seed", "--contacts", str(PEOPLE), "--events", "1000"]
        subprocess.run(seed, env=environment, check=True, cwd=tree, **quiet)  # type: ignore[call-overload]
        process = subprocess.Popen([*run, "api"], env=environment, cwd=directory, **quiet)  # type: ignore[call-overload]
        target = Target(port)
        try:
            _until_up(target)
            yield target
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def _until_up(target: Target) -> None:
    for _ in range(600):
        with suppress(httpx.HTTPError):
            if httpx.get(f"{target.http}/v1/health").status_code == 200:
                httpx.post(f"{target.http}/graphql", headers=AUTHORIZED, json={"query": "{viewer{name}}"})
                return
        time.sleep(0.05)
    raise SystemExit("the API did not come up")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--before", type=Path, help="another tree of this repository, to compare with")
    arguments.add_argument("--only", help="a part of the name of the requests to make")
    chosen = arguments.parse_args()
    trees = {"before": chosen.before.resolve()} if chosen.before else {}
    trees["now"] = ROOT
    names = [name for name in ATTACKS if chosen.only is None or chosen.only in name or name == "quiet"]
    seen: dict[str, dict[str, tuple[float, float, str]]] = {name: {} for name in names}
    for label, tree in trees.items():
        for name in names:
            # Each on an API of its own: what one request left behind is not blamed on the next.
            with api(tree) as target:
                seen[name][label] = measured(target, ATTACKS[name])
    table = Table(
        "request", *(f"{label}: {what}" for label in trees for what in ("gap ms", "median ms", "heard"))
    )
    for name in names:
        cells = [
            cell
            for label in trees
            for gap, median, heard in [seen[name][label]]
            for cell in (f"{gap * 1000:.0f}", f"{median * 1000:.0f}", heard)
        ]
        table.add_row(name, *cells)
    Console(width=200).print(table)


if __name__ == "__main__":
    main()
