"""What the two servers share: adopt the one that runs, else start one, wait until it answers, stop it."""

from __future__ import annotations

import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from hogsend.storage.embedded.errors import EmbeddedError
from hogsend.storage.embedded.home import Home
from hogsend.storage.embedded.processes import command_of, end, spawn, wait_until

# Long enough to recover from a crash with a large log; a healthy start takes a fraction of a second.
_READY_SECONDS = 60.0
_ATTEMPTS = 5


class Server(ABC):
    """One server of a state directory. `start` and `stop` block, and may be called again after each other."""

    name: ClassVar[str]
    # The server's log holds one of these when the same start may succeed a moment later.
    transient: ClassVar[tuple[str, ...]] = ()
    port_taken: ClassVar[str]

    def __init__(self, home: Home, *, port: int | None = None, throwaway: bool = False) -> None:
        self.home = home
        self.port = 0
        self.adopted = False
        self.throwaway = throwaway
        self._wanted_port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.home.path / f"{self.name}.log"

    @property
    @abstractmethod
    def mark(self) -> str:
        """What the command line of this very server holds, and of no other process."""

    @property
    @abstractmethod
    def pid_file(self) -> Path: ...

    @abstractmethod
    def prepare(self) -> None:
        """Make what the server needs on disk, once."""

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """The program and its arguments, with `self.port`."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server takes clients now. May set `self.port` to what an adopted one listens on."""

    @abstractmethod
    def stop_signals(self) -> Sequence[tuple[signal.Signals, float]]:
        """The gentle signal first; each with the seconds it is given."""

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs, whoever started it."""
        if self._process is not None and self._process.poll() is None:
            return self._process.pid
        pid = self.recorded_pid()
        return pid if pid is not None and self.mark in command_of(pid) else None

    def recorded_pid(self) -> int | None:
        """What the pid file says, be it the number of a process that is gone."""
        try:
            return int(self.pid_file.read_text().split(maxsplit=1)[0])
        except (OSError, ValueError, IndexError):
            return None

    def start(self) -> None:
        """Return when the server takes clients. Raises `EmbeddedError` with the end of its log."""
        if self.pid is not None:
            self._adopt()
            return
        self.adopted = False
        self.prepare()
        complaint = ""
        for attempt in range(_ATTEMPTS):
            taken = self.port_taken in complaint
            self.port = self.home.port(self.name, wanted=self._wanted_port, other=taken)
            complaint = self._launch()
            if not complaint:
                return
            if taken and self._wanted_port is not None:
                break
            if not any(words in complaint for words in (self.port_taken, *self.transient)):
                break
            time.sleep(0.1 * (attempt + 1))
        raise EmbeddedError(f"{self.name} did not start. The end of {self.log}:\n{complaint}")

    def stop(self) -> None:
        """Return when the server is gone. Raises `EmbeddedError` where it cannot be ended."""
        pid = self.pid
        if pid is not None and not end(pid, self.stop_signals(), self.mark):
            raise EmbeddedError(f"{self.name} (process {pid}) does not stop.")
        if self._process is not None:
            self._process.wait()
            self._process = None

    def _adopt(self) -> None:
        self.adopted = True
        self.port = self.home.port(self.name, wanted=None)
        if not wait_until(lambda: self._is_ready() or self.pid is None, _READY_SECONDS) or self.pid is None:
            raise EmbeddedError(f"{self.name} was left running here and does not answer. See {self.log}.")

    def _is_ready(self) -> bool:
        """A killed server leaves a pid file that says it is ready; so it must be this process's."""
        return self.recorded_pid() == self.pid is not None and self.answers()

    def _launch(self) -> str:
        """Start a process. Empty when it answers, else what it logged."""
        begin = self.log.stat().st_size if self.log.exists() else 0
        self._process = process = spawn(
            self.command(),
            home=self.home.path,
            log=self.log,
            account=self.home.account,
            dies_with_us=self.throwaway,
        )
        wait_until(lambda: process.poll() is not None or self._is_ready(), _READY_SECONDS)
        if process.poll() is None and self._is_ready():
            return ""
        process.kill()
        process.wait()
        self._process = None
        with self.log.open("rb") as log:
            log.seek(begin)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-8:]) or f"it did not answer within {_READY_SECONDS:.0f} seconds"
