"""The state directory: one supervisor's at a time, with its password, its ports and its servers' data."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import IO

from hogsend.storage.embedded.account import Account, server_account
from hogsend.storage.embedded.binaries import Binaries, find_binaries, shared_binaries
from hogsend.storage.embedded.errors import EmbeddedError


def default_state_dir() -> Path:
    """`HOGSEND_STATE_DIR`, else where this platform keeps a user's state. `nobody` cannot enter root's."""
    if chosen := os.environ.get("HOGSEND_STATE_DIR"):
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/var/lib/hogsend")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "hogsend"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "hogsend"


class Home:
    """A state directory that is held: `open()` makes and locks it, `close()` lets go.

    `state.json` (0600) remembers what must be the same next time. Errors are `EmbeddedError`.
    """

    def __init__(self, path: Path, *, servers: bool = True) -> None:
        """With `servers`, the account that runs them must be able to pass through to `path`."""
        self.path = path.expanduser().resolve()
        self.account: Account | None = None
        self._servers = servers
        self._lock: IO[str] | None = None
        self._binaries: Binaries | None = None

    def open(self) -> None:
        """Make the directory and take its lock; nothing where this object holds it already."""
        if self._lock is not None:
            return
        self.account = server_account() if self._servers else None
        if self.account is not None:
            self._check_way(self.account)
        self._make()
        self._take_lock()

    def close(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def binaries(self) -> Binaries:
        """The servers' programs, where their account can reach them. Raises `EmbeddedError`."""
        if self._binaries is None:
            if self.account is None:
                self._binaries = find_binaries()
            else:
                self._binaries = shared_binaries(self.path / "bin", self.account)
        return self._binaries

    def directory(self, name: str) -> Path:
        """A directory that only the servers' account can read."""
        path = self.path / name
        path.mkdir(mode=0o700, exist_ok=True)
        self.give(path)
        return path

    def write_secret(self, path: Path, text: str) -> None:
        """Write a file that only the servers' account can read."""
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(text)
        self.give(path)

    def give(self, path: Path) -> None:
        """Make the servers' account the owner of `path`."""
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)

    def secret(self, name: str) -> str:
        """A random secret, the same each time it is asked for by this name."""
        return str(self.remembered(name) or self.remember(name, secrets.token_hex(20)))

    def port(self, server: str, *, wanted: int | None, other: bool = False) -> int:
        """`wanted`, or a free port on loopback, the same as last time unless `other` is asked for."""
        last = self.remembered(f"{server}_port")
        if wanted is not None:
            port = wanted
        elif isinstance(last, int) and not other:
            port = last
        else:
            with socket.create_server(("127.0.0.1", 0)) as probe:
                port = probe.getsockname()[1]
        if port != last:
            self.remember(f"{server}_port", port)
        return port

    def remember(self, name: str, value: str | int) -> str | int:
        """Keep `value` for the next time; the file is replaced whole. Returns `value`."""
        state = self._state()
        state[name] = value
        partial = self.path / "state.json.partial"
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            json.dump(state, file, indent=2)
        partial.replace(self.path / "state.json")
        return value

    def remembered(self, name: str) -> object:
        """What `remember` kept under this name, or None."""
        return self._state().get(name)

    def _state(self) -> dict[str, object]:
        try:
            return dict(json.loads((self.path / "state.json").read_text()))
        except FileNotFoundError:
            return {}
        except ValueError:
            raise EmbeddedError(
                f"{self.path / 'state.json'} cannot be read. Remove the state directory to start afresh."
            ) from None

    def _make(self) -> None:
        try:
            missing = [path for path in (self.path, *self.path.parents) if not path.exists()]
            self.path.mkdir(parents=True, exist_ok=True)
            if self.account is not None:
                for path in {self.path, *missing}:
                    path.chmod(path.stat().st_mode | 0o111)
            (self.path / "lock").touch()
        except OSError as error:
            reason = (error.strerror or "it cannot be used").lower()
            raise EmbeddedError(
                f"Cannot write to the state directory {self.path}: {reason}. Choose another with --state-dir."
            ) from None

    def _take_lock(self) -> None:
        lock = (self.path / "lock").open("r+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise EmbeddedError(
                f"Another Hogsend (process {holder}) is using {self.path}. "
                "Stop it, or choose another directory with --state-dir."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _check_way(self, account: Account) -> None:
        """Refuse a path below a directory that is closed to the account; what is missing yet, we open."""
        for parent in self.path.parents:
            if parent.is_dir() and not account.may_enter(parent):
                raise EmbeddedError(
                    f"As root, the servers run as `{account.name}`, which cannot enter {parent}. "
                    f"Choose another directory with --state-dir, such as /var/lib/hogsend."
                )
