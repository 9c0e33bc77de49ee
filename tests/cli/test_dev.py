"""`hogsend dev` as a person runs it: what comes up, what comes back, and that nothing is left."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.conftest import ADMIN_KEY

JOURNEY = """
from hogsend import journey

@journey(id="mine", name="Mine", trigger="thing.happened")
async def mine(user, ctx):
    await ctx.checkpoint("seen")
"""


class Dev:
    """A running `hogsend dev`, and what it has printed."""

    def __init__(self, state_dir: Path, port: int, *arguments: str, cwd: Path | None = None) -> None:
        self.port = port
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "hogsend.cli",
                "dev",
                "--state-dir",
                str(state_dir),
                "--port",
                str(port),
                *arguments,
            ],
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200", "ADMIN_API_KEY": ADMIN_KEY},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd,
        )
        self.output = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                self.output += line

    def until_printed(self, pattern: str) -> str:
        until(lambda: re.search(pattern, self.output) or self.process.poll() is not None, self.__repr__)
        found = re.search(pattern, self.output)
        assert found is not None, self.output
        return found[0]

    def __repr__(self) -> str:
        return self.output

    def child(self, name: str) -> psutil.Process:
        for process in psutil.Process(self.process.pid).children():
            if name in process.cmdline():
                return process
        pytest.fail(f"no {name} runs:\n{self.output}")

    def tree(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def health(self) -> int:
        return httpx.get(f"http://127.0.0.1:{self.port}/v1/health", timeout=30).status_code

    def end(self, signum: signal.Signals) -> int:
        self.process.send_signal(signum)
        code = self.process.wait(30)
        self._reader.join(10)
        return code


def until(holds: Callable[[], object], say: Callable[[], str] = str, every: float = 0.02) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, say()
        time.sleep(every)


def living(processes: list[psutil.Process]) -> list[psutil.Process]:
    def lives(process: psutil.Process) -> bool:
        try:
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    return [process for process in processes if lives(process)]


@pytest.fixture
def state_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hogsend-tests-") as directory:
        Path(directory).chmod(0o711)
        yield Path(directory) / "state"


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.fixture
def start(state_dir: Path, port: int) -> Iterator[Callable[..., Dev]]:
    started: list[Dev] = []

    def run(*arguments: str, cwd: Path | None = None) -> Dev:
        started.append(Dev(state_dir, port, *arguments, cwd=cwd))
        started[-1].until_printed(r"Hogsend runs, after")
        return started[-1]

    yield run
    for dev in started:
        if dev.process.poll() is None:
            dev.end(signal.SIGTERM)


def test_everything_comes_up_comes_back_and_ends(start: Callable[..., Dev], port: int) -> None:
    dev = start("--demo")
    for line in (
        rf"GraphiQL +http://localhost:{port}/graphql",
        rf"Inbox +http://localhost:{port}/dev/inbox",
        ADMIN_KEY,
    ):
        dev.until_printed(line)
    dev.until_printed(r"demo │ ada@example\.com  user\.signed_up")
    inbox = httpx.get(
        f"http://127.0.0.1:{port}/dev/inbox", params={"format": "json", "to": "ada@example.com"}
    )
    assert inbox.status_code == 200

    worker = dev.child("worker")
    worker.kill()
    dev.until_printed(r"worker │ was killed by SIGKILL; starting it again")
    until(lambda: dev.output.count("worker_started") == 2, dev.__repr__)
    dev.child("api").kill()
    assert dev.health() == 200

    everything = dev.tree()
    assert dev.end(signal.SIGINT) == 0
    assert living(everything) == []
    assert "Traceback" not in dev.output


@pytest.mark.slow
def test_after_a_kill_the_servers_are_adopted_and_nothing_is_left(start: Callable[..., Dev]) -> None:
    killed = start("--no-demo")
    left = killed.tree()
    ours = [killed.child("api"), killed.child("worker")]
    killed.end(signal.SIGKILL)
    until(lambda: not living(ours))
    assert len(living(left)) > 2

    dev = start("--no-demo")
    assert re.search(r"postgres │ was left .* adopted", dev.output), dev.output
    assert re.search(r"valkey │ was left .* adopted", dev.output), dev.output
    assert dev.health() == 200
    everything = [*left, *dev.tree()]
    assert dev.end(signal.SIGTERM) == 0
    assert living(everything) == []


@pytest.mark.slow
def test_a_changed_journey_restarts_api_and_worker(
    start: Callable[..., Dev], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").touch()
    monkeypatch.setenv("HOGSEND_JOURNEYS", "mine")
    dev = start("--no-demo", "--reload", cwd=tmp_path)
    until(lambda: "worker_started" in dev.output, dev.__repr__)

    def changed() -> bool:
        """Written until it is seen: the watch begins a moment after the start is announced."""
        (tmp_path / "mine" / "one.py").write_text(JOURNEY)
        return "worker │ one.py changed; starting again" in dev.output

    until(changed, dev.__repr__, every=0.5)
    dev.until_printed(r"worker_started .*'mine'")
    assert dev.health() == 200
