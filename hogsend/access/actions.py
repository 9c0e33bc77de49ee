"""API key actions: create and revoke."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.access.audit import audit
from hogsend.access.caller import Scope
from hogsend.access.keys import KeyRing, hash_key, new_key
from hogsend.clock import Clock
from hogsend.errors import InvalidInput, NotFound
from hogsend.runtime import Runtime
from hogsend.storage.metadata import new_id
from hogsend.tables.access import api_keys
from hogsend.validation import check_text

PREFIX_SHOWN = 8
LONGEST_NAME = 200

_SHOWN = tuple(column for column in api_keys.c if column is not api_keys.c.key_hash)


@dataclass(frozen=True)
class NewKey:
    """`key` is shown once and not kept."""

    key: str
    row: RowMapping


async def create_key(
    conn: AsyncConnection, clock: Clock, *, name: str, scopes: Collection[Scope], expires_at: datetime | None
) -> NewKey:
    """Make a key. Raises `InvalidInput`. `expires_at` is real time."""
    check_text("name", name, LONGEST_NAME)
    if not scopes:
        raise InvalidInput("scopes", f"scopes must hold at least one of {', '.join(Scope)}")
    wall = clock.wall()
    if expires_at is not None and expires_at <= wall:
        raise InvalidInput("expiresAt", "expiresAt must be in the future", code="EXPIRY_IN_PAST")
    key = new_key()
    values = {
        "id": new_id(),
        "name": name,
        "key_hash": hash_key(key),
        "key_prefix": key[:PREFIX_SHOWN],
        "scopes": [scope.value for scope in Scope if scope in scopes],
        "expires_at": expires_at,
        "created_at": wall,
    }
    made = (await conn.execute(insert(api_keys).values(values).returning(*_SHOWN))).mappings().one()
    await audit(conn, resource_id=made["id"], after=audit_view(made))
    return NewKey(key, made)


async def revoke_key(runtime: Runtime, key_id: UUID) -> RowMapping:
    """Revoke a key, in a transaction of its own, and tell every process. A revoked one stays as it is.

    Raises `NotFound`.
    """
    columns = api_keys.c
    async with runtime.database.transaction() as conn:
        found = await conn.execute(select(*_SHOWN).where(columns.id == key_id).with_for_update())
        row = found.mappings().one_or_none()
        if row is None:
            raise NotFound("API key")
        before = row
        if before["revoked_at"] is None:
            changed = await conn.execute(
                update(api_keys)
                .where(columns.id == key_id)
                .values(revoked_at=runtime.clock.wall())
                .returning(*_SHOWN)
            )
            row = changed.mappings().one()
        await audit(conn, resource_id=key_id, before=audit_view(before), after=audit_view(row))
    await runtime.part(KeyRing).announce_revoked(key_id)
    return row


def audit_view(row: RowMapping) -> Mapping[str, Any]:
    """What the audit log says of a key: nothing that opens anything."""
    return {
        "name": row["name"],
        "keyPrefix": row["key_prefix"],
        "scopes": row["scopes"],
        "expiresAt": row["expires_at"],
        "revokedAt": row["revoked_at"],
    }
