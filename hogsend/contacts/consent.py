"""What a person agreed to outlives the row that it was said to: an opt-out is never lost."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.clock import Clock
from hogsend.contacts.tables import contact_preferences, contacts
from hogsend.storage.metadata import new_id

_p = contact_preferences.c
Preferences = Mapping[Any, Any]
"""A row of `contact_preferences`."""


async def preferences_of(conn: AsyncConnection, contact_id: UUID) -> RowMapping | None:
    """The row as it is, or None where the contact never said anything."""
    rows = await conn.execute(select(contact_preferences).where(_p.contact_id == contact_id))
    return rows.mappings().one_or_none()


async def merge_preferences(conn: AsyncConnection, clock: Clock, survivor_id: UUID, loser_id: UUID) -> None:
    """Give the survivor whatever either of them refused. Under the locks of both."""
    theirs = await preferences_of(conn, loser_id)
    if theirs is None:
        return
    mine = await preferences_of(conn, survivor_id)
    if mine is None:
        moved = update(contact_preferences).where(_p.id == theirs["id"])
        await conn.execute(moved.values(contact_id=survivor_id, updated_at=clock.now()))
        return
    await conn.execute(delete(contact_preferences).where(_p.id == theirs["id"]))
    combined = update(contact_preferences).where(_p.id == mine["id"])
    await conn.execute(combined.values(stricter(mine, theirs), updated_at=clock.now()))


async def inherit_opt_outs(conn: AsyncConnection, clock: Clock, contact_id: UUID, email: str) -> None:
    """Carry over what the deleted contacts with this address had refused. Under the new owner's lock."""
    rows = (
        (
            await conn.execute(
                select(contact_preferences)
                .join(contacts, contacts.c.id == _p.contact_id)
                .where(_p.email == email, contacts.c.deleted_at.is_not(None), _p.contact_id != contact_id)
            )
        )
        .mappings()
        .all()
    )
    if not any(_refuses(row) for row in rows):
        return
    now = clock.now()
    mine = await preferences_of(conn, contact_id)
    if mine is None:
        start = {
            "id": new_id(),
            "contact_id": contact_id,
            "email": email,
            "created_at": now,
            "updated_at": now,
        }
        await conn.execute(insert(contact_preferences).values(start))
        mine = await preferences_of(conn, contact_id)
    assert mine is not None
    held: dict[str, Any] = dict(mine)
    for row in rows:
        held |= stricter(held, row)
    values = {key: held[key] for key in stricter(held, held)} | {"bounce_count": mine["bounce_count"]}
    await conn.execute(update(contact_preferences).where(_p.contact_id == contact_id).values(values))


async def address_changed(
    conn: AsyncConnection, clock: Clock, contact_id: UUID, email: str, *, had_one: bool
) -> None:
    """Keep the preferences beside the contact's current address."""
    if had_one:
        await conn.execute(update(contact_preferences).where(_p.contact_id == contact_id).values(email=email))
    await inherit_opt_outs(conn, clock, contact_id, email)


def stricter(one: Preferences, other: Preferences) -> dict[str, Any]:
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


def _refuses(row: Preferences) -> bool:
    return bool(row["unsubscribed_all"] or row["suppressed"] or not all(row["categories"].values()))
