"""Preferences across merges, deletions and changed addresses: an opt-out is never lost.

What an address heard is in the ledger; here a contact's own row follows it, and the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.clock import Clock
from hogsend.consent.ledger import (
    ALL,
    CATEGORY,
    COMPLAINT,
    MANUAL,
    SUPPRESSIONS,
    Word,
    category_scope,
    of_contact,
    record_words,
    words_about,
)
from hogsend.consent.people import address_of
from hogsend.storage.database import Record
from hogsend.storage.metadata import new_id
from hogsend.tables.contacts import contact_preferences
from hogsend.tables.emails import suppressions

_p = contact_preferences.c


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
    now = clock.now()
    email = await address_of(conn, survivor_id) or (theirs if mine is None else mine)["email"]
    at_address = await _at_address(conn, theirs, email)
    if mine is None:
        said = {**theirs, "contact_id": survivor_id, "email": email, **at_address}
        values = {"contact_id": survivor_id, "email": email, "updated_at": now} | at_address
        await conn.execute(update(contact_preferences).where(_p.id == theirs["id"]).values(values))
    else:
        await conn.execute(delete(contact_preferences).where(_p.id == theirs["id"]))
        combined = stricter(mine, {**theirs, **at_address})
        said = {**mine, "email": email, **combined}
        kept = update(contact_preferences).where(_p.id == mine["id"])
        await conn.execute(kept.values(combined | {"updated_at": now}))
    # Not under the lock of the survivor's address, where the call did not name it: nobody says anything just now.
    carried = {**said, "suppressed": theirs["suppressed"] and not at_address}
    await _carry_over(conn, now, carried, theirs["email"], source="merge")


async def inherit_opt_outs(conn: AsyncConnection, clock: Clock, contact_id: UUID, email: str) -> None:
    """Show in a contact's preferences what stands against the address that it takes. Under the locks of both."""
    refused = [word for word in (await words_about(conn, email)).values() if not word.allowed]
    if not refused:
        return
    now = clock.now()
    mine = await preferences_of(conn, contact_id)
    held = dict(mine) if mine is not None else {**_SILENCE}
    bounces = held["bounce_count"]
    for word in refused:
        held |= stricter(held, {**_SILENCE, **_as_preferences(word)})
    said = {name: held[name] for name in _SILENCE} | {"bounce_count": bounces, "updated_at": now}
    made = {"id": new_id(), "contact_id": contact_id, "email": email, "created_at": now}
    await conn.execute(
        insert(contact_preferences)
        .values(said | made)
        .on_conflict_do_update(index_elements=["contact_id"], set_=said)
    )


def _as_preferences(word: Word) -> dict[str, Any]:
    """A refusal of the ledger as a row of preferences says it."""
    if word.scope in SUPPRESSIONS:
        return {"suppressed": True, "suppressed_at": word.at}
    if word.scope == ALL:
        return {"unsubscribed_all": True}
    return {"categories": {word.scope.removeprefix(CATEGORY): False}}


async def address_changed(conn: AsyncConnection, clock: Clock, contact_id: UUID, email: str) -> None:
    """Carry a contact's refusals to the address that it takes, and show it what stands against that.

    A new address is not to blame for the old one's bounces.
    """
    said = await preferences_of(conn, contact_id)
    if said is not None:
        moved = {"email": email} | await _at_address(conn, said, email)
        await conn.execute(
            update(contact_preferences)
            .where(_p.contact_id == contact_id)
            .values(moved | {"updated_at": clock.now()})
        )
        await _carry_over(conn, clock.now(), {**said, **moved}, said["email"], source="address-change")
    await inherit_opt_outs(conn, clock, contact_id, email)


async def _carry_over(conn: AsyncConnection, at: datetime, said: Record, former: str, *, source: str) -> None:
    """Write the refusals that stand in a row of preferences into the ledger, for the address that it is beside."""
    refused: dict[str, bool] = {
        category_scope(name): False for name, on in said["categories"].items() if not on
    }
    if said["unsubscribed_all"]:
        refused[ALL] = False
    if said["suppressed"]:
        before = await words_about(conn, former)
        kept = {scope for scope in (COMPLAINT, MANUAL) if scope in before and not before[scope].allowed}
        refused |= dict.fromkeys(kept or {MANUAL}, False)
    if refused and said["email"]:
        evidence = of_contact(said["contact_id"])
        await record_words(conn, at, said["email"], refused, source=source, evidence=evidence)


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
