"""Both servers of one state directory, as one thing to start and stop."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from hogsend.storage.embedded.errors import EmbeddedError
from hogsend.storage.embedded.home import Home, default_state_dir
from hogsend.storage.embedded.postgres import PostgresServer
from hogsend.storage.embedded.server import Server
from hogsend.storage.embedded.valkey import ValkeyServer

DATABASE = "hogsend"


class EmbeddedStack:
    """Postgres and Valkey in `state_dir`, held by this process alone.

    Servers that a killed supervisor left are adopted. With `throwaway` nothing is made durable, and on Linux
    the servers die with the thread that started them: for tests. `postgres=False` or `valkey=False` leaves
    one out.
    """

    def __init__(
        self,
        state_dir: Path | None = None,
        *,
        throwaway: bool = False,
        postgres: bool = True,
        valkey: bool = True,
        postgres_port: int | None = None,
        valkey_port: int | None = None,
    ) -> None:
        self.home = Home(state_dir or default_state_dir(), servers=postgres or valkey)
        self.postgres = PostgresServer(self.home, port=postgres_port, throwaway=throwaway)
        self.valkey = ValkeyServer(self.home, port=valkey_port, throwaway=throwaway)
        self._wanted: list[Server] = []
        if valkey:
            self._wanted.append(self.valkey)
        if postgres:
            self._wanted.append(self.postgres)

    @property
    def database_url(self) -> str:
        return self.postgres.url(DATABASE)

    @property
    def redis_url(self) -> str:
        return self.valkey.url()

    @property
    def adopted(self) -> list[str]:
        """The servers that were running already, by name."""
        return [server.name for server in self._wanted if server.adopted]

    def start(self) -> None:
        """Return when both take clients. Raises `EmbeddedError`, and leaves nothing running then."""
        self.home.open()
        try:
            for server in self._wanted:
                server.start()
            if self.postgres in self._wanted:
                self.postgres.ensure_database(DATABASE)
        except BaseException:
            self.stop()
            raise

    def revive(self) -> list[str]:
        """Start again, on its old port, each server that died; their names. Raises `EmbeddedError`."""
        dead = [server for server in self._wanted if server.pid is None]
        for server in dead:
            server.stop()
            server.start()
        return [server.name for server in dead]

    def stop(self) -> None:
        """Return when both are gone and the directory is free. Raises `EmbeddedError` where one stays."""
        problems = []
        for server in reversed(self._wanted):
            try:
                server.stop()
            except EmbeddedError as error:
                problems.append(str(error))
        self.home.close()
        if problems:
            raise EmbeddedError("\n".join(problems))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
