"""Suppression and preferences: who must not be written to, and how that changes. An opt-out is never lost."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.clock import Clock
from hogsend.decisions.ledger import record_decision
from hogsend.decisions.reasons import Kind, Reason
from hogsend.storage.database import lock_subjects
from hogsend.storage.metadata import new_id
from hogsend.tables.contacts import contact_preferences, contacts
from hogsend.tables.emails import suppressions

TRANSACTIONAL = "transactional"

Type = Literal["bounce", "complaint", "manual"]

# In the order in which they are named where an address has several.
_BY_TYPE = {
    "complaint": Reason.ADDRESS_COMPLAINED,
    "bounce": Reason.ADDRESS_BOUNCED,
    "manual": Reason.SUPPRESSED_BY_OPERATOR,
}
_SAID = {
    "complaint": Reason.COMPLAINED,
    "bounce": Reason.BOUNCED,
    "manual": Reason.SUPPRESSED_BY_OPERATOR,
}

_p = contact_preferences.c


async def refusal(
    conn: AsyncConnection, *, contact_id: UUID | None, email: str, category: str | None
) -> Reason | None:
    """Why this person must not get an email of this category at this address; None where nothing forbids it.

    Transactional email is sent to those who unsubscribed; never to an address that bounced or complained. Reads
    what is committed: whoever needs the answer to hold until a commit has the subject's lock.
    """
    holder = await _survivor(conn, contact_id) if contact_id is not None else await _owner(conn, email)
    if contact_id is not None and holder is None:
        return Reason.CONTACT_DELETED
    types = set(
        (await conn.execute(select(suppressions.c.type).where(suppressions.c.email == email))).scalars()
    )
    for type_, reason in _BY_TYPE.items():
        if type_ in types:
            return reason
    if holder is None:
        return None
    said = (await conn.execute(select(contact_preferences).where(_p.contact_id == holder))).one_or_none()
    if said is None:
        return None
    if said.suppressed:
        return Reason.SUPPRESSED_BY_OPERATOR
    if category == TRANSACTIONAL:
        return None
    if said.unsubscribed_all:
        return Reason.UNSUBSCRIBED_FROM_ALL
    if category is not None and said.categories.get(category) is False:
        return Reason.UNSUBSCRIBED_FROM_CATEGORY
    return None


async def suppress(
    conn: AsyncConnection,
    clock: Clock,
    email: str,
    type: Type,
    *,
    email_id: UUID | None = None,
    detail: str | None = None,
) -> bool:
    """Write to this address no more. False where it was suppressed for this before.

    Takes the lock of whoever has the address; call it before locking any row.
    """
    owner = await _owner(conn, email)
    if owner is not None:
        await lock_subjects(conn, [owner])
    return await suppress_at(
        conn, clock.now(), email, type, contact_id=owner, email_id=email_id, detail=detail
    )


async def suppress_at(
    conn: AsyncConnection,
    at: datetime,
    email: str,
    type: Type,
    *,
    contact_id: UUID | None,
    email_id: UUID | None = None,
    detail: str | None = None,
) -> bool:
    """`suppress` for who has the lock of `contact_id` already, and knows when it happened.

    The contact's own flag is set only where the address is still theirs: a new address is not to blame.
    """
    written = await conn.execute(
        insert(suppressions)
        .values(id=new_id(), email=email, type=type, detail=detail, email_id=email_id, created_at=at)
        .on_conflict_do_nothing(index_elements=["email", "type"])
        .returning(suppressions.c.id)
    )
    if written.scalar_one_or_none() is None:
        return False
    if contact_id is not None and contact_id == await _owner(conn, email):
        await _write(conn, at, contact_id, email, {"suppressed": True, "suppressed_at": at})
    await record_decision(
        conn,
        at=at,
        kind=Kind.PREFERENCE,
        reason=_SAID[type],
        contact_id=contact_id,
        email_id=email_id,
        detail={"address": email, "detail": detail} if detail else {"address": email},
    )
    return True


async def lift(conn: AsyncConnection, clock: Clock, email: str, *, source: str = "operator") -> bool:
    """Let an address be written to again. False where nothing forbade it. Takes the lock of who has it."""
    owner = await _owner(conn, email)
    if owner is not None:
        await lock_subjects(conn, [owner])
    removed = await conn.execute(
        delete(suppressions).where(suppressions.c.email == email).returning(suppressions.c.type)
    )
    types = sorted(removed.scalars())
    cleared = False
    if owner is not None:
        before = await _preferences(conn, owner)
        cleared = before["suppressed"]
        if cleared:
            await _write(conn, clock.now(), owner, email, {"suppressed": False, "suppressed_at": None})
    if not types and not cleared:
        return False
    await record_decision(
        conn,
        at=clock.now(),
        kind=Kind.PREFERENCE,
        reason=Reason.RESUBSCRIBED,
        contact_id=owner,
        detail={"address": email, "lifted": types, "source": source},
    )
    return True


async def unsubscribe(
    conn: AsyncConnection,
    clock: Clock,
    contact_id: UUID,
    *,
    category: str | None = None,
    source: str,
    email_id: UUID | None = None,
) -> bool:
    """No more email of `category`, or none at all. False where that was so. Takes the contact's lock."""
    change: dict[str, Any] = (
        {"unsubscribed_all": True} if category is None else {"categories": {category: False}}
    )
    return await change_preferences(conn, clock, contact_id, **change, source=source, email_id=email_id)


async def resubscribe(
    conn: AsyncConnection, clock: Clock, contact_id: UUID, *, category: str | None = None, source: str
) -> bool:
    """Undo `unsubscribe`, because the person said so. False where nothing changed. Takes the contact's lock."""
    change: dict[str, Any] = (
        {"unsubscribed_all": False} if category is None else {"categories": {category: True}}
    )
    return await change_preferences(conn, clock, contact_id, **change, source=source)


async def change_preferences(
    conn: AsyncConnection,
    clock: Clock,
    contact_id: UUID,
    *,
    unsubscribed_all: bool | None = None,
    categories: Mapping[str, bool] | None = None,
    source: str,
    email_id: UUID | None = None,
) -> bool:
    """Write what a person agreed to, with a decision for each answer that changed. False where none did.

    Takes the contact's lock. `source` says who asked: one-click, form, preference-centre, operator …
    """
    contact_id = await _locked(conn, contact_id)
    before = await _preferences(conn, contact_id)
    now = clock.now()
    values, verdicts = _changes(before, unsubscribed_all, categories or {})
    if not values:
        return False
    await _write(conn, now, contact_id, before["email"], values)
    for reason, scope in verdicts:
        await record_decision(
            conn,
            at=now,
            kind=Kind.PREFERENCE,
            reason=reason,
            contact_id=contact_id,
            email_id=email_id,
            detail={"scope": scope, "source": source},
        )
    return True


def _changes(
    before: Mapping[str, Any], unsubscribed_all: bool | None, categories: Mapping[str, bool]
) -> tuple[dict[str, Any], list[tuple[Reason, str]]]:
    """What to write, and the verdict on each answer that differs; a category never spoken of was wanted."""
    values: dict[str, Any] = {}
    verdicts: list[tuple[Reason, str]] = []
    if unsubscribed_all is not None and unsubscribed_all != before["unsubscribed_all"]:
        values["unsubscribed_all"] = unsubscribed_all
        verdicts.append((Reason.UNSUBSCRIBED if unsubscribed_all else Reason.RESUBSCRIBED, "all"))
    held: dict[str, bool] = dict(before["categories"])
    for name, wanted in categories.items():
        if held.get(name, True) != wanted:
            verdicts.append((Reason.RESUBSCRIBED if wanted else Reason.UNSUBSCRIBED, name))
        if held.get(name) != wanted:
            values["categories"] = held = {**held, name: wanted}
    return values, verdicts


async def reader_of(conn: AsyncConnection, contact_id: UUID | None, email: str) -> UUID | None:
    """Whom a link was written to: the survivor of merges, or who has the address now, or the deleted contact.

    What a deleted contact refuses is carried over to the next one with its address.
    """
    survivor = await _survivor(conn, contact_id) if contact_id is not None else None
    return survivor or await _owner(conn, email) or contact_id


async def _locked(conn: AsyncConnection, contact_id: UUID) -> UUID:
    """Take the contact's lock; where it was merged meanwhile, the survivor's."""
    while True:
        await lock_subjects(conn, [contact_id])
        survivor = await _survivor(conn, contact_id)
        if survivor is None or survivor == contact_id:
            return contact_id
        contact_id = survivor


async def count_bounce(conn: AsyncConnection, at: datetime, contact_id: UUID, email: str) -> None:
    """Note one bounce of this contact. Under its lock."""
    counted = {"bounce_count": _p.bounce_count + 1, "last_bounce_at": at}
    await _write(conn, at, contact_id, email, counted, first={"bounce_count": 1, "last_bounce_at": at})


async def _write(
    conn: AsyncConnection,
    at: datetime,
    contact_id: UUID,
    email: str,
    values: Mapping[str, Any],
    first: Mapping[str, Any] | None = None,
) -> None:
    """Update the row of preferences, or make it with `first`."""
    made = {"id": new_id(), "contact_id": contact_id, "email": email, "created_at": at, "updated_at": at}
    await conn.execute(
        insert(contact_preferences)
        .values(made | dict(first or values))
        .on_conflict_do_update(index_elements=["contact_id"], set_={**values, "updated_at": at})
    )


async def _preferences(conn: AsyncConnection, contact_id: UUID) -> Mapping[str, Any]:
    """What the contact said, or what silence means."""
    said = await conn.execute(select(contact_preferences).where(_p.contact_id == contact_id))
    row = said.mappings().one_or_none()
    if row is not None:
        return dict(row)
    email = await conn.execute(select(contacts.c.email).where(contacts.c.id == contact_id))
    return {
        "email": email.scalar_one_or_none() or "",
        "unsubscribed_all": False,
        "suppressed": False,
        "categories": {},
    }


async def _survivor(conn: AsyncConnection, contact_id: UUID) -> UUID | None:
    """The contact itself, or the one it was merged into; None where it was deleted."""
    current: UUID | None = contact_id
    while current is not None:
        row = (
            await conn.execute(
                select(contacts.c.merged_into, contacts.c.deleted_at).where(contacts.c.id == current)
            )
        ).one_or_none()
        if row is None or (row.deleted_at is not None and row.merged_into is None):
            return None
        if row.merged_into is None:
            return current
        current = row.merged_into
    return None


async def _owner(conn: AsyncConnection, email: str) -> UUID | None:
    """The living contact that has this address."""
    found = await conn.execute(
        select(contacts.c.id).where(contacts.c.email == email, contacts.c.deleted_at.is_(None))
    )
    return found.scalar_one_or_none()
