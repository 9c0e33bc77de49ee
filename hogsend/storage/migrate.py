"""Bring a database to the newest revision, and say how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.storage.database import Database

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
MIGRATION_LOCK = 7_310_453


@dataclass(frozen=True)
class SchemaStatus:
    """Where the database stands against the code."""

    required: str
    applied: str | None
    pending: tuple[str, ...]

    @property
    def in_sync(self) -> bool:
        return self.applied == self.required


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def _upgrade(connection: Connection, revision: str) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


async def migrate(database: Database, revision: str = "head") -> None:
    """Upgrade to `revision`. Safe to call from several processes at once: they take turns on a lock."""
    async with database.engine.connect() as conn:
        await conn.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": MIGRATION_LOCK})
        try:
            await conn.commit()
            await conn.run_sync(_upgrade, revision)
            await conn.commit()
        finally:
            await conn.rollback()
            await conn.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": MIGRATION_LOCK})
            await conn.commit()


async def schema_status(conn: AsyncConnection) -> SchemaStatus:
    """Compare what is applied with what the code needs. One statement."""
    script = ScriptDirectory.from_config(_config())
    required = script.get_current_head() or ""
    applied = await conn.run_sync(lambda c: MigrationContext.configure(c).get_current_revision())
    pending: list[str] = []
    for revision in script.walk_revisions():
        if revision.revision == applied:
            break
        pending.append(revision.revision)
    return SchemaStatus(required, applied, tuple(reversed(pending)))
