"""The private Postgres: made by `initdb`, on loopback, with a random password and no socket file."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import asyncpg

from hogsend.storage.embedded.errors import EmbeddedError
from hogsend.storage.embedded.processes import command_of, run
from hogsend.storage.embedded.server import Server

USER = "hogsend"

_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "shared_preload_libraries": "pg_stat_statements",
}
# Nothing of a throw-away server outlives it, so nothing has to reach the disk.
_THROWAWAY = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_wal_size": "4GB",
    "autovacuum_naptime": "1h",
}


class PostgresServer(Server):
    """Postgres in `<state>/postgres`. The line `ready` in its `postmaster.pid` is what `pg_ctl` waits for."""

    name = "postgres"
    transient = ("pre-existing shared memory block", "the database system is shutting down")
    port_taken = "Address already in use"

    @property
    def data(self) -> Path:
        return self.home.path / "postgres" / "data"

    @property
    def mark(self) -> str:
        return f"-D {self.data}"

    @property
    def pid_file(self) -> Path:
        return self.data / "postmaster.pid"

    def url(self, database: str) -> str:
        """Where a client connects. Holds the password."""
        password = quote(self.home.secret("password"))
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def prepare(self) -> None:
        binaries = self.home.binaries
        made_by = self.data / "PG_VERSION"
        if made_by.exists():
            self._refuse_other_version(made_by.read_text().strip(), binaries.postgres_major)
            self._forget_stale_pid()
            return
        parent = self.home.directory("postgres")
        # Renamed when it is whole, so that an interrupted initdb is not taken for a database.
        partial = parent / "data.partial"
        shutil.rmtree(partial, ignore_errors=True)
        password = parent / "password"
        self.home.write_secret(password, self.home.secret("password"))
        locale = "C" if sys.platform == "darwin" else "C.UTF-8"
        code, complaint = run(
            [
                *(binaries.initdb, "-D", partial, "-U", USER, "-A", "scram-sha-256", f"--pwfile={password}"),
                *(
                    "-E",
                    "UTF8",
                    f"--locale={locale}",
                    "--locale-provider=builtin",
                    "--builtin-locale=C.UTF-8",
                ),
                "--no-sync",
            ],
            home=self.home.path,
            account=self.home.account,
        )
        password.unlink()
        if code != 0:
            raise EmbeddedError(f"initdb failed:\n{complaint.strip()}")
        partial.rename(self.data)

    def command(self) -> Sequence[str | Path]:
        options = _OPTIONS | (_THROWAWAY if self.throwaway else {})
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return [self.home.binaries.postgres, "-D", self.data, "-p", str(self.port), *settings]

    def answers(self) -> bool:
        try:
            lines = self.pid_file.read_text().splitlines()
        except OSError:
            return False
        if len(lines) < 8 or lines[7].strip() != "ready":
            return False
        self.port = int(lines[3])
        return True

    def stop_signals(self) -> Sequence[tuple[signal.Signals, float]]:
        """Fast shutdown, then immediate: what was committed is safe either way."""
        if self.throwaway:
            return ((signal.SIGQUIT, 10), (signal.SIGKILL, 5))
        return ((signal.SIGINT, 20), (signal.SIGQUIT, 10))

    def ensure_database(self, database: str) -> None:
        """Create `database` where it is missing. Not callable in a running event loop's thread."""
        asyncio.run(self._ensure_database(database))

    async def _ensure_database(self, database: str) -> None:
        try:
            connection = await asyncpg.connect(self.url("postgres"), timeout=10)
        except asyncpg.InvalidPasswordError:
            raise EmbeddedError(
                f"The Postgres in {self.data} does not take the password in {self.home.path / 'state.json'}. "
                "Remove the state directory to start afresh."
            ) from None
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", database):
                await connection.execute(f'CREATE DATABASE "{database}"')
        finally:
            await connection.close()

    def _refuse_other_version(self, found: str, wanted: str) -> None:
        if found != wanted:
            raise EmbeddedError(
                f"{self.data} was made by Postgres {found}; this Hogsend brings Postgres {wanted}. "
                "Choose another directory with --state-dir, or remove this one to start afresh."
            )

    def _forget_stale_pid(self) -> None:
        """Remove the pid file of a server that is gone when its number is another program's now.

        Postgres itself clears the file of a dead process, but refuses to start while the number is alive.
        """
        pid = self.recorded_pid()
        command = command_of(pid) if pid is not None else ""
        if command and self.mark not in command:
            self.pid_file.unlink()
