"""Rows of `api_keys` for tests that are not about making keys."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import insert, update

from hogsend.access.caller import Scope
from hogsend.access.keys import hash_key, new_key
from hogsend.runtime import Runtime
from hogsend.storage.metadata import new_id
from hogsend.tables.access import api_keys


async def make_key(
    runtime: Runtime, *scopes: Scope, name: str = "test", expires_at: datetime | None = None
) -> tuple[UUID, str]:
    """The id of a new key, and its `Authorization` header."""
    key = new_key()
    key_id = new_id()
    async with runtime.database.transaction() as conn:
        await conn.execute(
            insert(api_keys).values(
                id=key_id,
                name=name,
                key_hash=hash_key(key),
                key_prefix=key[:8],
                scopes=list(scopes or (Scope.READ,)),
                expires_at=expires_at,
                created_at=runtime.clock.wall(),
            )
        )
    return key_id, f"Bearer {key}"


async def revoke_row(runtime: Runtime, key_id: UUID) -> None:
    """Revoke without a word to anyone, as when Redis was down."""
    async with runtime.database.transaction() as conn:
        await conn.execute(
            update(api_keys).where(api_keys.c.id == key_id).values(revoked_at=runtime.clock.wall())
        )
