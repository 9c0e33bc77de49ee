"""A worker and an API as they are deployed: processes that can be killed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]


async def eventually(condition: Callable[[], object], within: float = 60.0) -> None:
    """Return when the condition holds; it is looked at often. Fails after `within` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        await asyncio.sleep(0.01)


SECRET = "a-secret-that-is-long-enough-to-be-one"


class WorkerProcess:
    """One worker at a time. Its output is kept, and shown where it should not have ended."""

    def __init__(self, environment: Mapping[str, str], *module: str) -> None:
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("HOGSEND", "HATCHET"))
        }
        self._environment = {**clean, "HOGSEND_SECRET_KEY": SECRET, **environment}
        self._module = module or ("worker",)
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = False
        self._began = 0

    def start(self, **environment: str) -> None:
        """With more variables for this life, where some are given."""
        assert not self.lives
        self._wanted, self._began = True, len(self.output)
        self._process = subprocess.Popen(
            [sys.executable, "-m", *self._module],
            cwd=ROOT,
            env={**self._environment, **environment},
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def lives(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def fell(self) -> bool:
        """Whether it ended, and nobody asked it to."""
        return self._wanted and not self.lives

    @property
    def output(self) -> str:
        self._output.seek(0)
        return self._output.read().decode(errors="replace")

    @property
    def works(self) -> bool:
        """Whether it has said that it started."""
        return self.lives and "worker_started" in self.output[self._began :]

    @property
    def memory(self) -> int:
        """Resident bytes of the worker and of what it started."""
        assert self._process is not None
        worker = psutil.Process(self._process.pid)
        return sum(each.memory_info().rss for each in (worker, *worker.children(recursive=True)))

    def kill(self) -> None:
        """SIGKILL to the worker alone: what it started must notice by itself."""
        assert self._process is not None
        self._wanted = False
        self._process.kill()
        self._process.wait()

    async def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self._process is not None
        self._wanted = False
        self._process.terminate()
        try:
            await eventually(lambda: not self.lives, within=40)
        except AssertionError:
            raise AssertionError(self.output) from None
        code: int = self._process.returncode
        return code

    def close(self) -> None:
        """End whatever is left of it."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._output.close()


class ApiProcess(WorkerProcess):
    """`hogsend api` on a port of its own, the same one each time it is started."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        super().__init__({**environment, "HOGSEND_PORT": str(port)}, "hogsend.cli", "api")
        self.url = f"http://127.0.0.1:{port}"
