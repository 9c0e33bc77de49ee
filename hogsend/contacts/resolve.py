"""Identity resolution, carried out: find, make, link, merge. Every way in asks here, so that one person is one contact.

Calls down only: `lookup` reads, `identity` decides, `rows` and `merge` write; `lookup` has the order of locks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.clock import Clock
from hogsend.consent.inheritance import address_changed, inherit_opt_outs
from hogsend.contacts.identity import IdentityPlan, key_changes, plan
from hogsend.contacts.identity_keys import Contact, Keys
from hogsend.contacts.lookup import alive, one, owners
from hogsend.contacts.merge import merge
from hogsend.contacts.rows import keep_as_alias, make, write
from hogsend.storage.database import lock_subjects, try_lock_subjects


@dataclass(frozen=True)
class Resolved:
    """The contact as it now is. `linked`: it took on a key. `merged`: the contacts that it swallowed."""

    contact: Contact
    created: bool = False
    linked: bool = False
    merged: list[UUID] = field(default_factory=list)


async def resolve(
    conn: AsyncConnection,
    clock: Clock,
    keys: Keys,
    properties: Mapping[str, Any] | None = None,
    *,
    seen: bool = True,
) -> Resolved:
    """Find the contact that the keys speak of, or make it; link and merge as the keys demand.

    In the caller's transaction; until it ends, the locks of the keys and of the contact are held. Properties are
    merged at the top level, null removes one. `seen` moves `last_seen_at`. An existing contact costs four
    statements.
    """
    await lock_subjects(conn, keys.subjects())
    call = _Resolution(conn, clock, properties, seen)
    while True:
        planned = plan(keys, await owners(conn, keys))
        if planned.survivor is None:
            resolved = await _make(call, planned.keys)
        elif planned.losers:
            resolved = await _merge_all(call, keys, planned)
        else:
            resolved = await _lock_and_write(call, planned.survivor, planned.keys)
        if resolved is not None:
            return resolved


@dataclass(frozen=True)
class _Resolution:
    """What one call of `resolve` has besides keys."""

    conn: AsyncConnection
    clock: Clock
    properties: Mapping[str, Any] | None
    seen: bool


async def _make(call: _Resolution, keys: Keys) -> Resolved | None:
    """None where somebody else has just taken one of the keys."""
    row = await make(call.conn, call.clock, keys, call.properties)
    if row is None:
        return None
    if keys.email is not None:
        await inherit_opt_outs(call.conn, call.clock, row["id"], keys.email)
    return Resolved(row, created=True)


async def _lock_and_write(call: _Resolution, contact: Contact, keys: Keys) -> Resolved | None:
    """Lock the one contact that the keys speak of, and write; None where it died before."""
    await lock_subjects(call.conn, [contact["id"]])
    if all(contact[kind] == value for kind, value in keys):
        row = await write(call.conn, call.clock, contact["id"], {}, call.properties, call.seen)
        return None if row is None else Resolved(row)
    fresh = await one(call.conn, alive(contact["id"]))
    return None if fresh is None else await _take_on(call, fresh, keys)


async def _merge_all(call: _Resolution, keys: Keys, planned: IdentityPlan) -> Resolved | None:
    """Merge under the locks of all; None where the plan had changed once they were held."""
    async with call.conn.begin_nested() as savepoint:
        await _lock_together(call.conn, planned.ids())
        again = plan(keys, await owners(call.conn, keys))
        if again.survivor is None or again.ids() != planned.ids():
            # Rolling back gives the contacts' locks back: nobody holds one while waiting for another.
            await savepoint.rollback()
            return None
        survivor = again.survivor
        for loser in again.losers:
            survivor = await merge(call.conn, call.clock, survivor_id=survivor["id"], loser_id=loser["id"])
        resolved = await _take_on(call, survivor, again.keys)
    return Resolved(resolved.contact, linked=True, merged=[loser["id"] for loser in again.losers])


async def _lock_together(conn: AsyncConnection, ids: Iterable[UUID]) -> None:
    """Lock several contacts without ever waiting for one while holding another.

    Whoever follows a merged contact holds its lock and waits for the survivor's, in whatever order their ids
    are; so sorting is not enough here. On a miss, everything is given back and the missed one is waited for.
    """
    waiting = sorted(ids)
    while True:
        async with conn.begin_nested() as savepoint:
            await lock_subjects(conn, waiting[:1])
            missed = await try_lock_subjects(conn, waiting[1:])
            if missed is None:
                return
            await savepoint.rollback()
        waiting.sort(key=lambda contact_id: str(contact_id) != missed)


async def _take_on(call: _Resolution, contact: Contact, keys: Keys) -> Resolved:
    """Write what the call says onto its contact, read as live under its lock."""
    conn, clock, contact_id = call.conn, call.clock, contact["id"]
    changes = key_changes(contact, keys)
    row = await write(conn, clock, contact_id, changes.own, call.properties, call.seen)
    if row is None:
        raise RuntimeError(f"contact {contact_id} died under its own lock")
    linked = bool(changes.own)
    for kind, value in changes.aliases:
        linked = await keep_as_alias(conn, clock, contact_id, kind, value) or linked
    if "email" in changes.own:
        await address_changed(conn, clock, contact_id, changes.own["email"])
    return Resolved(row, linked=linked)
