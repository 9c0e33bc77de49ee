"""The servers of one test run, and how a test's database is made and emptied."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from hogsend.settings import Settings
from hogsend.storage.database import Database
from hogsend.storage.embedded import EmbeddedStack
from hogsend.storage.migrate import migrate

TEMPLATE = "hogsend_template"

# Deleting is faster than truncating until there is much to delete. A replica checks no trigger and no key.
_EMPTY = """
DO $$
DECLARE item record;
BEGIN
    SET LOCAL session_replication_role = replica;
    FOR item IN
        SELECT oid, oid::regclass AS name FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
          AND relname NOT IN ('alembic_version', 'consent_key') AND pg_relation_size(oid) > 0
    LOOP
        IF pg_relation_size(item.oid) > 1000000 THEN
            EXECUTE format('TRUNCATE %s CASCADE', item.name);
        ELSE
            EXECUTE format('DELETE FROM %s', item.name);
        END IF;
    END LOOP;
END $$
"""


class RunServers:
    """One Postgres for the whole run, with a migrated database to copy; in a throw-away directory."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="hogsend-tests-")
        self._stack = EmbeddedStack(Path(self._directory.name), throwaway=True, valkey=False)
        self._stack.start()
        self.postgres_url = self._stack.postgres.url("postgres")
        asyncio.run(self._make_template())

    def stop(self) -> None:
        self._stack.stop()
        self._directory.cleanup()

    async def _make_template(self) -> None:
        await execute(self.postgres_url, f"CREATE DATABASE {TEMPLATE}")
        url = in_database(self.postgres_url, TEMPLATE)
        database = Database.open(Settings(database_url=url, database_pool_size=1))
        try:
            await migrate(database)
        finally:
            await database.close()


class WorkerValkey:
    """A Valkey for each xdist worker: pub/sub is not parted by database, and some tests flush or stop it."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="hogsend-tests-")
        self._stack = EmbeddedStack(Path(self._directory.name), throwaway=True, postgres=False)
        self._stack.start()
        self.url = self._stack.redis_url

    def stop(self) -> None:
        self._stack.stop()
        self._directory.cleanup()


async def create_database(postgres_url: str, name: str) -> str:
    """A copy of the migrated template, replacing the one of that name. Returns its URL."""
    await execute(postgres_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await execute(postgres_url, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    return in_database(postgres_url, name)


async def empty_database(database_url: str) -> None:
    """Delete every row but the schema's revision and the key of the consent ledger."""
    await execute(database_url, _EMPTY)


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def in_database(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()
