"""Bring a database to the newest revision, and say how far it is.

Alembic brings it there, and is imported for that alone: health asks how far it is without it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.storage.database import Database

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
MIGRATION_LOCK = 7_310_453

# What every file of `migrations/versions` says of itself. A revision follows one other, or none: they do not branch.
_REVISION = re.compile(r"^revision(?:: [^=]+)? = ['\"](\w+)['\"]$", re.MULTILINE)
_DOWN_REVISION = re.compile(r"^down_revision(?:: [^=]+)? = (?:['\"](\w+)['\"]|None)$", re.MULTILINE)


@dataclass(frozen=True)
class SchemaStatus:
    """Where the database stands against the code."""

    required: str
    applied: str | None
    pending: tuple[str, ...]

    @property
    def in_sync(self) -> bool:
        return self.applied == self.required

    @property
    def is_behind(self) -> bool:
        """Whether the code needs what the database lacks; a revision that it does not know is a later one."""
        return self.applied is None or (self.applied in revisions() and not self.in_sync)


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def _upgrade(connection: Connection, revision: str) -> None:
    from alembic import command

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
    """Compare what is applied with what the code needs."""
    known = revisions()
    applied = await _applied(conn)
    pending = known[known.index(applied) + 1 :] if applied in known else known
    return SchemaStatus(known[-1], applied, pending)


async def _applied(conn: AsyncConnection) -> str | None:
    there = await conn.execute(text("SELECT to_regclass('alembic_version') IS NOT NULL"))
    if not there.scalar_one():
        return None
    revision: str | None = (
        await conn.execute(text("SELECT version_num FROM alembic_version"))
    ).scalar_one_or_none()
    return revision


@cache
def revisions() -> tuple[str, ...]:
    """Every revision that the code knows, the oldest first."""
    after: dict[str | None, str] = {}
    for file in sorted((MIGRATIONS / "versions").glob("*.py")):
        source = file.read_text(encoding="utf-8")
        own, before = _REVISION.search(source), _DOWN_REVISION.search(source)
        if own is None or before is None:
            raise ValueError(f"{file.name} does not say which revision it is, and which one it follows")
        after[before[1]] = own[1]
    chain: list[str] = []
    follows: str | None = None
    while (follows := after.get(follows)) is not None:
        chain.append(follows)
    return tuple(chain)
