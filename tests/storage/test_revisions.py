"""Health reads the migrations without Alembic, and must read them as Alembic does."""

from __future__ import annotations

from alembic.script import ScriptDirectory
from sqlalchemy import text

from hogsend.runtime import Runtime
from hogsend.storage.migrate import MIGRATIONS, revisions, schema_status


def test_the_revisions_are_those_that_alembic_knows() -> None:
    walked = ScriptDirectory(str(MIGRATIONS)).walk_revisions()
    assert revisions() == tuple(reversed([script.revision for script in walked]))


async def test_a_database_without_tables_waits_for_every_revision(runtime: Runtime) -> None:
    async with runtime.database.read() as conn:
        assert (await schema_status(conn)).in_sync
        await conn.execute(text("ALTER TABLE alembic_version RENAME TO hidden"))
        status = await schema_status(conn)
    assert (status.applied, status.pending) == (None, revisions())
    assert not status.in_sync
