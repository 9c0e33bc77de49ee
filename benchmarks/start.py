"""How soon the API answers, `hogsend --help` speaks, what their imports cost, and what idle processes burn.

    python -m benchmarks.start [--tree PATH ...] [--rounds 5] [--idle 20]

Several trees (a worktree of before and this one) are measured in turn, round by round, on the same servers, so that
whatever else the machine does meets all of them alike. Processor time is user and system time of the one process.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from hogsend.storage.embedded import EmbeddedStack

HERE = Path(__file__).parents[1]
KEY = "bench-key-that-is-long-enough"
QUESTION = json.dumps({"query": "{ viewer { name } }"})
PATIENCE_SECONDS = 60.0
SETTLE_SECONDS = 5.0
PACKAGES = 12

Figures = dict[str, float]


class Tree:
    """One copy of the source, and how its processes are started."""

    def __init__(self, path: Path, environment: Mapping[str, str]) -> None:
        self.path = path.resolve()
        self.environment = {**os.environ, **environment, "PYTHONPATH": str(self.path)}

    @contextmanager
    def process(self, *arguments: str, **more: str) -> Iterator[psutil.Popen]:
        """`python ARGUMENTS` for the length of the block; it is told to stop at its end."""
        started = psutil.Popen(
            [sys.executable, *arguments],
            cwd=self.path,
            env={**self.environment, **more},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield started
        finally:
            started.send_signal(signal.SIGTERM)
            started.wait()

    def run(self, *arguments: str) -> str:
        """What it wrote to standard error."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.path,
            env=self.environment,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        return done.stderr


def seconds_of(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def first_answer(began: float, port: int, method: str, path: str, body: str | None = None) -> float:
    """Seconds from `began` to the first 200; asked again for as long as nobody listens."""
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    while time.perf_counter() - began < PATIENCE_SECONDS:
        connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status == 200 and b'"errors"' not in text:
                return time.perf_counter() - began
        except (OSError, HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.005)
    raise SystemExit(f"{method} {path} was not answered within {PATIENCE_SECONDS:.0f} seconds")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def api(tree: Tree) -> Figures:
    """A process for each of the two first requests, so that neither is helped by the other."""
    figures: Figures = {}
    for name, request in (
        ("health", ("GET", "/v1/health", None)),
        ("GraphQL", ("POST", "/graphql", QUESTION)),
    ):
        port = free_port()
        began = time.perf_counter()
        with tree.process("-m", "hogsend.cli", "api", HOGSEND_PORT=str(port)) as process:
            figures[f"api: first {name} answer, s"] = first_answer(began, port, *request)
            figures[f"api: processor time until {name}, s"] = seconds_of(process)
    return figures


def command(tree: Tree) -> Figures:
    before, began = os.times(), time.perf_counter()
    tree.run("-m", "hogsend.cli", "--help")
    passed, after = time.perf_counter() - began, os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return {"hogsend --help, s": passed, "hogsend --help: processor time, s": spent}


def idle(tree: Tree, name: str, arguments: Sequence[str], servers: psutil.Process, seconds: float) -> Figures:
    """Percent of a core, of the process and of Postgres for it, over so many seconds in which nothing happens."""
    with tree.process(*arguments, HOGSEND_PORT=str(free_port())) as process:
        time.sleep(SETTLE_SECONDS)
        began, own, theirs = time.perf_counter(), seconds_of(process), postgres_seconds(servers)
        time.sleep(seconds)
        passed = time.perf_counter() - began
        return {
            f"idle {name}, % of a core": 100 * (seconds_of(process) - own) / passed,
            f"Postgres beside an idle {name}, %": 100 * (postgres_seconds(servers) - theirs) / passed,
        }


def postgres_seconds(postmaster: psutil.Process) -> float:
    """Of all backends that live. Those that end meanwhile are not counted."""
    return sum(seconds_of(each) for each in (postmaster, *postmaster.children(recursive=True)))


def import_costs(tree: Tree, module: str) -> list[tuple[str, float]]:
    """Milliseconds of each package's own modules, the dearest first, and the sum of all."""
    spent: Counter[str] = Counter()
    for line in tree.run("-X", "importtime", "-c", f"import {module}").splitlines():
        own, _, name = line.removeprefix("import time:").split("|")
        if own.strip().isdecimal():
            spent[name.strip().partition(".")[0]] += int(own)
    return [(name, us / 1000) for name, us in (("all", spent.total()), *spent.most_common(PACKAGES))]


def print_figures(console: Console, trees: Sequence[Tree], rounds: Sequence[Sequence[Figures]]) -> None:
    table = Table("median, and the least", *(tree.path.name for tree in trees))
    for name in rounds[0][0]:
        columns = [[turn[index][name] for turn in rounds] for index in range(len(trees))]
        table.add_row(name, *(f"{statistics.median(column):.3f}   {min(column):.3f}" for column in columns))
    console.print(table)


def print_imports(console: Console, tree: Tree) -> None:
    for module in ("hogsend.app", "hogsend.cli"):
        table = Table(f"{tree.path.name}: import {module}", "ms")
        for name, ms in import_costs(tree, module):
            table.add_row(name, f"{ms:.0f}")
        console.print(table)


def measure(tree: Tree, postmaster: psutil.Process, seconds: float) -> Figures:
    figures = {**api(tree), **command(tree)}
    if seconds:
        figures |= idle(tree, "worker", ("-m", "worker"), postmaster, seconds)
        figures |= idle(tree, "api", ("-m", "hogsend.cli", "api"), postmaster, seconds)
    return figures


def main(options: argparse.Namespace) -> None:
    console = Console()
    with (
        tempfile.TemporaryDirectory(prefix="hogsend-bench-") as folder,
        EmbeddedStack(Path(folder)) as servers,
    ):
        environment = {
            "DATABASE_URL": servers.database_url,
            "REDIS_URL": servers.redis_url,
            "ADMIN_API_KEY": KEY,
            "HOGSEND_EMAIL_PROVIDER": "inbox",
            "HOGSEND_SECRET_KEY": "bench-secret-that-is-long-enough-now",
        }
        trees = [Tree(path, environment) for path in options.tree or [HERE]]
        trees[0].run("-m", "hogsend.cli", "migrate")
        postmaster = psutil.Process(servers.postgres.pid)
        for tree in trees:  # so that no round pays for compiling
            command(tree)
            api(tree)
        rounds = [[measure(tree, postmaster, options.idle) for tree in trees] for _ in range(options.rounds)]
        print_figures(console, trees, rounds)
        for tree in trees:
            print_imports(console, tree)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--tree", type=Path, nargs="*", help="default: this one")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--idle", type=float, default=20, help="seconds; 0 leaves it out")
    main(parser.parse_args())
