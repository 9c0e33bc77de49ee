"""Preferences across merges, deletions and changed addresses: an opt-out is never lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, Text, any_, bindparam, delete, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.clock import Clock
from hogsend.storage.database import Record
from hogsend.storage.metadata import new_id
from hogsend.tables.contacts import contact_preferences, contacts
from hogsend.tables.emails import suppressions

_p = contact_preferences.c
_SAID_AT = select(contact_preferences).where(_p.email == any_(bindparam("emails", type_=ARRAY(Text))))


async def preferences_of(conn: AsyncConnection, contact_id: UUID) -> RowMapping | None:
    """The row as it is, or None where the contact never said anything."""
    rows = await conn.execute(select(contact_preferences).where(_p.contact_id == contact_id))
    return rows.mappings().one_or_none()


async def merge_preferences(conn: AsyncConnection, clock: Clock, survivor_id: UUID, loser_id: UUID) -> None:
    """Give the survivor whatever either of them refused. Under the locks of both, while both still live."""
    theirs = await preferences_of(conn, loser_id)
    if theirs is None:
        return
    mine = await preferences_of(conn, survivor_id)
    if mine is None:
        found = await conn.execute(select(contacts.c.email).where(contacts.c.id == survivor_id))
        email = found.scalar_one() or theirs["email"]
        values = {"contact_id": survivor_id, "email": email} | await _at_address(conn, theirs, email)
        moved = update(contact_preferences).where(_p.id == theirs["id"])
        await conn.execute(moved.values(values | {"updated_at": clock.now()}))
        return
    await conn.execute(delete(contact_preferences).where(_p.id == theirs["id"]))
    combined = stricter(mine, {**theirs, **await _at_address(conn, theirs, mine["email"])})
    kept = update(contact_preferences).where(_p.id == mine["id"])
    await conn.execute(kept.values(combined | {"updated_at": clock.now()}))


async def inherit_opt_outs(conn: AsyncConnection, clock: Clock, contact_id: UUID, email: str) -> None:
    """Carry over what the deleted contacts with this address had refused. Under the new owner's lock."""
    rows = await _of_the_deleted(conn, [email])
    if not rows:
        return
    now = clock.now()
    mine = await preferences_of(conn, contact_id)
    held = dict(mine) if mine is not None else {**_SILENCE}
    bounces = held["bounce_count"]
    for row in rows:
        held |= stricter(held, row)
    said = {name: held[name] for name in _SILENCE} | {"bounce_count": bounces, "updated_at": now}
    made = {"id": new_id(), "contact_id": contact_id, "email": email, "created_at": now}
    await conn.execute(
        insert(contact_preferences)
        .values(said | made)
        .on_conflict_do_update(index_elements=["contact_id"], set_=said)
    )


async def addresses_opted_out(conn: AsyncConnection, emails: Sequence[str]) -> set[str]:
    """Those of `emails` at which a contact that is now deleted had refused something."""
    return {row["email"] for row in await _of_the_deleted(conn, emails)}


async def _of_the_deleted(conn: AsyncConnection, emails: Sequence[str]) -> list[RowMapping]:
    rows = await conn.execute(_SAID_AT, {"emails": list(emails)})
    refusing = {row["contact_id"]: row for row in rows.mappings() if _refuses(row)}
    if not refusing:
        return []
    gone = await conn.execute(
        select(contacts.c.id).where(contacts.c.id.in_(refusing), contacts.c.deleted_at.is_not(None))
    )
    return [refusing[contact_id] for contact_id in gone.scalars()]


async def address_changed(
    conn: AsyncConnection, clock: Clock, contact_id: UUID, email: str, *, had_one: bool
) -> None:
    """Keep the preferences beside the contact's current address, which is not to blame for the old one's bounces."""
    said = await preferences_of(conn, contact_id) if had_one else None
    if said is not None:
        values = {"email": email, "updated_at": clock.now()} | await _at_address(conn, said, email)
        await conn.execute(update(contact_preferences).where(_p.contact_id == contact_id).values(values))
    await inherit_opt_outs(conn, clock, contact_id, email)


async def _at_address(conn: AsyncConnection, said: Record, email: str) -> dict[str, Any]:
    """What changes in `said` when it is to hold at `email`: a suppression for bounces alone stays with its address."""
    if not said["suppressed"] or said["email"] == email:
        return {}
    types = await conn.execute(select(suppressions.c.type).where(suppressions.c.email == said["email"]))
    if set(types.scalars()) == {"bounce"}:
        return {"suppressed": False, "suppressed_at": None}
    return {}


_SILENCE: Mapping[str, Any] = {
    "unsubscribed_all": False,
    "suppressed": False,
    "bounce_count": 0,
    "categories": {},
    "suppressed_at": None,
    "last_bounce_at": None,
}


def stricter(one: Record, other: Record) -> dict[str, Any]:
    """What holds when both were said by one person: a refusal beats an agreement, counts add up."""
    categories = {**one["categories"], **other["categories"]}
    for name in one["categories"].keys() & other["categories"].keys():
        categories[name] = one["categories"][name] and other["categories"][name]
    return {
        "unsubscribed_all": one["unsubscribed_all"] or other["unsubscribed_all"],
        "suppressed": one["suppressed"] or other["suppressed"],
        "bounce_count": one["bounce_count"] + other["bounce_count"],
        "categories": categories,
        "suppressed_at": _latest(one["suppressed_at"], other["suppressed_at"]),
        "last_bounce_at": _latest(one["last_bounce_at"], other["last_bounce_at"]),
    }


def _latest(one: datetime | None, other: datetime | None) -> datetime | None:
    return max(filter(None, (one, other)), default=None)


def _refuses(row: RowMapping) -> bool:
    return bool(row["unsubscribed_all"] or row["suppressed"] or not all(row["categories"].values()))
