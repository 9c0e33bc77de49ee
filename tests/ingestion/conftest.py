"""A Postgres that refuses some data, as a constraint or a broken page of its would."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from hogsend.runtime import Runtime


@pytest.fixture
async def poisoned(runtime: Runtime) -> AsyncIterator[None]:
    """Postgres refuses whatever says `poison`."""
    async with runtime.database.transaction() as conn:
        await conn.execute(
            text(
                "CREATE OR REPLACE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$"
                " BEGIN RAISE EXCEPTION 'poison'; END $$"
            )
        )
        await conn.execute(
            text(
                "CREATE OR REPLACE TRIGGER poison BEFORE INSERT ON user_events FOR EACH ROW"
                " WHEN (NEW.properties ? 'poison') EXECUTE FUNCTION refuse_poison()"
            )
        )
    yield
    async with runtime.database.transaction() as conn:
        await conn.execute(text("DROP FUNCTION refuse_poison() CASCADE"))
