"""Who stands behind an address or a former contact, and their locks: first the addresses, then the contact."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.consent.ledger import address_lock
from hogsend.storage.database import lock_subjects
from hogsend.tables.contacts import contacts

_c = contacts.c


async def survivor_of(conn: AsyncConnection, contact_id: UUID) -> UUID | None:
    """The contact itself, or the one it was merged into; None where it was deleted."""
    current: UUID | None = contact_id
    while current is not None:
        row = (
            await conn.execute(select(_c.merged_into, _c.deleted_at).where(_c.id == current))
        ).one_or_none()
        if row is None or (row.deleted_at is not None and row.merged_into is None):
            return None
        if row.merged_into is None:
            return current
        current = row.merged_into
    return None


async def owner_of(conn: AsyncConnection, email: str) -> UUID | None:
    """The living contact that has this address."""
    found = await conn.execute(select(_c.id).where(_c.email == email, _c.deleted_at.is_(None)))
    return found.scalar_one_or_none()


async def address_of(conn: AsyncConnection, contact_id: UUID) -> str | None:
    """The address that a contact has now."""
    found = await conn.execute(select(_c.email).where(_c.id == contact_id))
    return found.scalar_one_or_none()


async def lock_reader(
    conn: AsyncConnection, contact_id: UUID | None, email: str | None = None
) -> tuple[UUID | None, str | None]:
    """Lock an address, and the person whom it reaches with theirs: the contact and the address that they have now.

    The person is the survivor of `contact_id`, or who has `email`. Call it before any other lock of the contact.
    """
    while True:
        holder = await _reader(conn, contact_id, email)
        own = None if holder is None else await address_of(conn, holder)
        async with conn.begin_nested() as savepoint:
            await lock_subjects(conn, {address_lock(each) for each in (email, own) if each})
            if holder is not None:
                await lock_subjects(conn, [holder])
            again = await _reader(conn, contact_id, email)
            if again == holder and (holder is None or await address_of(conn, holder) == own):
                return holder, own
            # Rolling back gives the locks back: nobody waits for an address while holding a contact.
            await savepoint.rollback()


async def _reader(conn: AsyncConnection, contact_id: UUID | None, email: str | None) -> UUID | None:
    survivor = await survivor_of(conn, contact_id) if contact_id is not None else None
    return survivor or (await owner_of(conn, email) if email is not None else None)
