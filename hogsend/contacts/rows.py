"""Writes to a contact's own rows: its keys and properties, and its aliases. All of it under the contact's lock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import case, delete, func, literal, update
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import Text

from hogsend.clock import Clock
from hogsend.contacts.identity_keys import Contact, KeyKind, Keys
from hogsend.contacts.lookup import alive, one
from hogsend.storage.metadata import new_id
from hogsend.tables.contacts import contact_aliases, contacts

_c = contacts.c
_MAKE = insert(contacts).on_conflict_do_nothing().returning(contacts)


async def make(
    conn: AsyncConnection, clock: Clock, keys: Keys, properties: Mapping[str, Any] | None
) -> Contact | None:
    """A new contact. None where the index knows better: someone without the key's lock has just taken it."""
    now = clock.now()
    values = {
        "id": new_id(),
        "external_id": keys.external_id,
        "email": keys.email,
        "anonymous_id": keys.anonymous_id,
        "properties": {key: value for key, value in (properties or {}).items() if value is not None},
        "first_seen_at": now,
        "last_seen_at": now,
        "created_at": now,
        "updated_at": now,
    }
    return await one(conn, _MAKE, values)


async def write(
    conn: AsyncConnection,
    clock: Clock,
    contact_id: UUID,
    keys: Mapping[KeyKind, str | None],
    properties: Mapping[str, Any] | None,
    seen: bool,
) -> Contact | None:
    """Set keys, merge properties, note the time. Under the contact's lock; None where it is not alive."""
    now = clock.now()
    if not (keys or properties or seen):
        return await one(conn, alive(contact_id))
    values: dict[str, Any] = dict(keys.items())
    if seen:
        values["last_seen_at"] = func.greatest(_c.last_seen_at, now)
    if properties:
        values["properties"] = merged = _merged_properties(properties)
        values["updated_at"] = case((merged != _c.properties, now), else_=_c.updated_at)
    if keys:
        values["updated_at"] = now
    statement = update(contacts).where(_c.id == contact_id, _c.deleted_at.is_(None)).values(values)
    return await one(conn, statement.returning(contacts))


def _merged_properties(properties: Mapping[str, Any]) -> Any:
    kept = {key: value for key, value in properties.items() if value is not None}
    removed = [key for key, value in properties.items() if value is None]
    merged = _c.properties.op("||")(literal(kept, JSONB))
    return merged.op("-")(literal(removed, ARRAY(Text))) if removed else merged


async def keep_as_alias(
    conn: AsyncConnection, clock: Clock, contact_id: UUID, kind: KeyKind, value: str
) -> bool:
    """Let a key resolve to this contact, whose lock is held. False where it did already."""
    statement = insert(contact_aliases).values(
        kind=kind, value=value, contact_id=contact_id, created_at=clock.now()
    )
    written = await conn.execute(
        statement.on_conflict_do_update(
            index_elements=["kind", "value"],
            set_={"contact_id": contact_id},
            where=contact_aliases.c.contact_id != contact_id,
        )
    )
    return written.rowcount > 0


async def drop_aliases(conn: AsyncConnection, contact_id: UUID) -> None:
    """Forget what else a contact was known as; under its lock. Its former keys are anyone's again."""
    await conn.execute(delete(contact_aliases).where(contact_aliases.c.contact_id == contact_id))
