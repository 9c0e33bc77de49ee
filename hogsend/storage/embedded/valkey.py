"""The private Valkey, which answers like Redis 7.2: on loopback, with a random password."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

import redis

from hogsend.storage.embedded.server import Server


class ValkeyServer(Server):
    """Valkey in `<state>/valkey`. Its settings are in a private file: a command line is for all to read."""

    name = "valkey"
    port_taken = "Address already in use"

    @property
    def mark(self) -> str:
        return str(self._config)

    @property
    def pid_file(self) -> Path:
        return self.home.path / "valkey" / "valkey.pid"

    @property
    def _config(self) -> Path:
        return self.home.path / "valkey" / "valkey.conf"

    def url(self, database: int = 0) -> str:
        """Where a client connects. Holds the password."""
        return f"redis://:{self.home.secret('password')}@127.0.0.1:{self.port}/{database}"

    def prepare(self) -> None:
        self.home.directory("valkey")
        self.pid_file.unlink(missing_ok=True)

    def command(self) -> Sequence[str | Path]:
        self._write_config()
        return [self.home.binaries.valkey, self._config]

    def answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url(), socket_timeout=2) as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False

    def stop_signals(self) -> Sequence[tuple[signal.Signals, float]]:
        return ((signal.SIGTERM, 10), (signal.SIGKILL, 5))

    def _write_config(self) -> None:
        directory = self.home.path / "valkey"
        # With set-proc-title the path of this file, our mark, would leave the server's command line.
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "requirepass": self.home.secret("password"),
            "dir": f'"{directory}"',
            "pidfile": f'"{self.pid_file}"',
            "set-proc-title": "no",
            "daemonize": "no",
            "appendonly": "no" if self.throwaway else "yes",
            "save": '""',
            "maxmemory-policy": "noeviction",
        }
        self.home.write_secret(self._config, "".join(f"{name} {value}\n" for name, value in settings.items()))
