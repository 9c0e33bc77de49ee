"""Who is this? Find, create, link: every way into Hogsend asks here, so that one person is one contact.

The order of locks, here and wherever a key changes hands: first the keys (`key_subject`), then the contacts.
A live contact loses a key only to someone who holds that key's lock, so a contact that was found by a key and is
still alive once its own lock is held is still the right one. `docs/identity.md` has the rules in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Executable, Select, bindparam, case, func, literal, select, union_all, update
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import Text

from hogsend.clock import Clock
from hogsend.consent.inheritance import address_changed, inherit_opt_outs
from hogsend.contacts.identity_keys import KINDS, Contact, Keys, Kind, Plan, key_subject, plan
from hogsend.contacts.merge import keep_as_alias, merge
from hogsend.storage.database import lock_subjects, try_lock_subjects
from hogsend.storage.metadata import new_id
from hogsend.tables.contacts import contact_aliases, contacts

_c = contacts.c
_MAKE = insert(contacts).on_conflict_do_nothing().returning(contacts)


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
    *,
    external_id: str | None,
    email: str | None,
    anonymous_id: str | None = None,
    properties: Mapping[str, Any] | None = None,
    seen: bool = True,
) -> Resolved:
    """Find the contact that the keys speak of, or make it; link and merge as the keys demand.

    In the caller's transaction; until it ends, the locks of the keys and of the contact are held. Properties are
    merged at the top level, null removes one. `seen` moves `last_seen_at`. An existing contact costs four
    statements. Raises `InvalidInput` for a malformed key, and where there is none.
    """
    keys = Keys.of(external_id, email, anonymous_id)
    await lock_subjects(conn, keys.subjects())
    while True:
        found = plan(keys, await owners(conn, keys))
        if found.survivor is None:
            resolved = await _create(conn, clock, found.keys, properties)
        elif found.losers:
            resolved = await _merge_all(conn, clock, keys, found, properties, seen)
        else:
            resolved = await _locked(conn, clock, found.survivor, found.keys, properties, seen)
        if resolved is not None:
            return resolved


async def find(conn: AsyncConnection, ref: str) -> Contact | None:
    """The live contact with this UUID or external id; one that was merged answers as its survivor."""
    candidates = [
        select(literal(1).label("rank"), contacts).where(_c.external_id == ref, _c.deleted_at.is_(None))
    ]
    candidates.append(_by_alias(literal(2), "external_id", ref))
    try:
        contact_id = UUID(ref)
    except ValueError:
        pass
    else:
        candidates.append(select(literal(0), contacts).where(_c.id == _survivor_of(contact_id)))
    return await _first(conn, candidates)


async def find_by(
    conn: AsyncConnection,
    *,
    id: UUID | None = None,
    external_id: str | None = None,
    email: str | None = None,
) -> Contact | None:
    """The live contact with this one key. The email is normalised here; a malformed one finds nobody."""
    if id is not None:
        return await _first(
            conn, [select(literal(0).label("rank"), contacts).where(_c.id == _survivor_of(id))]
        )
    if external_id is not None:
        return (await owners(conn, Keys(external_id=external_id))).get("external_id")
    if email is not None:
        return (await owners(conn, Keys(email=email.strip().lower()))).get("email")
    return None


async def lock_contact(conn: AsyncConnection, contact_id: UUID) -> Contact | None:
    """Lock a contact and read it; one that was merged is followed to its survivor. None where it is deleted."""
    while True:
        await lock_subjects(conn, [contact_id])
        row = await _one(conn, select(contacts).where(_c.id == contact_id))
        if row is None or (row["deleted_at"] is not None and row["merged_into"] is None):
            return None
        if row["merged_into"] is None:
            return row
        contact_id = row["merged_into"]


async def lock_person(
    conn: AsyncConnection, contact_id: UUID, *, and_email: str | None = None
) -> Contact | None:
    """Lock a contact's keys (and an address that it is to have), then the contact; None where it is deleted.

    For whoever starts from an id and will change keys or call `resolve` under the lock: `lock_contact` and then
    a key would be the wrong way round.
    """
    while True:
        row = await _one(conn, select(contacts).where(_c.id == _survivor_of(contact_id)))
        if row is None:
            return None
        keys = {kind: row[kind] for kind in KINDS}
        names = [key_subject(kind, value) for kind, value in keys.items() if value is not None]
        if and_email is not None:
            names.append(key_subject("email", and_email))
        async with conn.begin_nested() as savepoint:
            await lock_subjects(conn, names)
            await lock_subjects(conn, [row["id"]])
            fresh = await _one(conn, _alive(row["id"]))
            if fresh is not None and all(fresh[kind] == value for kind, value in keys.items()):
                return fresh
            await savepoint.rollback()


async def owners(conn: AsyncConnection, keys: Keys) -> dict[Kind, Contact]:
    """The live contact that each of `keys` resolves to, by its own key or by an alias. One statement."""
    rows = (await conn.execute(_owning(tuple(kind for kind, _ in keys)), dict(keys))).all()
    return {row.kind: row._asdict() for row in rows}


@cache
def _owning(kinds: tuple[Kind, ...]) -> Executable:
    """Built once for each set of kinds: every event asks it, and building costs as much as asking."""
    parts: list[Select[Any]] = []
    for kind in kinds:
        own = select(literal(kind).label("kind"), contacts)
        parts.append(own.where(_c[kind] == bindparam(kind), _c.deleted_at.is_(None)))
        parts.append(_by_alias(literal(kind), kind, bindparam(kind)))
    return union_all(*parts)


def _by_alias(label: Any, kind: Kind, value: Any) -> Select[Any]:
    alias = contact_aliases.c
    return (
        select(label, contacts)
        .join(contact_aliases, alias.contact_id == _c.id)
        .where(alias.kind == kind, alias.value == value, _c.deleted_at.is_(None))
    )


def _survivor_of(contact_id: UUID) -> Any:
    """The id itself where it is alive, else of the one that it was merged into. Chains are one step long."""
    return (
        select(case((_c.deleted_at.is_(None), _c.id), else_=_c.merged_into))
        .where(_c.id == contact_id)
        .correlate(None)
        .scalar_subquery()
    )


async def _first(conn: AsyncConnection, candidates: list[Select[Any]]) -> Contact | None:
    return await _one(conn, union_all(*candidates).order_by("rank").limit(1))


async def _one(
    conn: AsyncConnection, statement: Executable, values: Mapping[str, Any] | None = None
) -> Contact | None:
    row = (await conn.execute(statement, values)).one_or_none()
    return None if row is None else row._asdict()


async def _create(
    conn: AsyncConnection, clock: Clock, keys: Keys, properties: Mapping[str, Any] | None
) -> Resolved | None:
    """None where the index knows better: someone who did not hold the key's lock has just taken it."""
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
    row = await _one(conn, _MAKE, values)
    if row is None:
        return None
    if keys.email is not None:
        await inherit_opt_outs(conn, clock, row["id"], keys.email)
    return Resolved(row, created=True)


async def _locked(
    conn: AsyncConnection,
    clock: Clock,
    contact: Contact,
    keys: Keys,
    properties: Mapping[str, Any] | None,
    seen: bool,
) -> Resolved | None:
    """Lock the one contact that the keys speak of, and write; None where it died before."""
    await lock_subjects(conn, [contact["id"]])
    if all(contact[kind] == value for kind, value in keys):
        row = await write(conn, clock, contact["id"], {}, properties, seen)
        return None if row is None else Resolved(row)
    fresh = await _one(conn, _alive(contact["id"]))
    return None if fresh is None else await _take_on(conn, clock, fresh, keys, properties, seen)


async def _merge_all(
    conn: AsyncConnection,
    clock: Clock,
    keys: Keys,
    found: Plan,
    properties: Mapping[str, Any] | None,
    seen: bool,
) -> Resolved | None:
    """Merge under the locks of all; None where the plan had changed once they were held."""
    async with conn.begin_nested() as savepoint:
        await _lock_together(conn, found.ids())
        again = plan(keys, await owners(conn, keys))
        if again.survivor is None or again.ids() != found.ids():
            # Rolling back gives the contacts' locks back: nobody holds one while waiting for another.
            await savepoint.rollback()
            return None
        survivor = again.survivor
        for loser in again.losers:
            survivor = await merge(conn, clock, survivor_id=survivor["id"], loser_id=loser["id"])
        resolved = await _take_on(conn, clock, survivor, again.keys, properties, seen)
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


async def _take_on(
    conn: AsyncConnection,
    clock: Clock,
    contact: Contact,
    keys: Keys,
    properties: Mapping[str, Any] | None,
    seen: bool,
) -> Resolved:
    """Write what the call says onto its contact, read as live under its lock."""
    gained = _gained(contact, keys)
    row = await write(conn, clock, contact["id"], gained, properties, seen)
    if row is None:
        raise RuntimeError(f"contact {contact['id']} died under its own lock")
    for kind in KINDS:
        if kind in gained and contact[kind] is not None:
            await keep_as_alias(conn, clock, contact["id"], kind, contact[kind])
    if "email" in gained:
        await address_changed(
            conn, clock, contact["id"], gained["email"], had_one=contact["email"] is not None
        )
    linked = bool(gained)
    for kind, value in keys:
        if row[kind] != value:
            linked = await keep_as_alias(conn, clock, contact["id"], kind, value) or linked
    return Resolved(row, linked=linked)


def _gained(contact: Contact, keys: Keys) -> dict[str, str]:
    """The keys that become the contact's own. The address that comes with an external id is the current one."""
    gained: dict[str, str] = {kind: value for kind, value in keys if contact[kind] is None}
    if keys.external_id is not None and keys.email is not None and keys.email != contact["email"]:
        gained["email"] = keys.email
    return gained


async def write(
    conn: AsyncConnection,
    clock: Clock,
    contact_id: UUID,
    keys: Mapping[str, str | None],
    properties: Mapping[str, Any] | None,
    seen: bool,
) -> Contact | None:
    """Set keys, merge properties, note the time. Under the contact's lock; None where it is not alive."""
    now = clock.now()
    if not (keys or properties or seen):
        return await _one(conn, _alive(contact_id))
    values: dict[str, Any] = {**keys}
    if seen:
        values["last_seen_at"] = func.greatest(_c.last_seen_at, now)
    if properties:
        values["properties"] = merged = _merged_properties(properties)
        values["updated_at"] = case((merged != _c.properties, now), else_=_c.updated_at)
    if keys:
        values["updated_at"] = now
    statement = update(contacts).where(_c.id == contact_id, _c.deleted_at.is_(None)).values(values)
    return await _one(conn, statement.returning(contacts))


def _alive(contact_id: UUID) -> Select[Any]:
    return select(contacts).where(_c.id == contact_id, _c.deleted_at.is_(None))


def _merged_properties(properties: Mapping[str, Any]) -> Any:
    kept = {key: value for key, value in properties.items() if value is not None}
    removed = [key for key, value in properties.items() if value is None]
    merged = _c.properties.op("||")(literal(kept, JSONB))
    return merged.op("-")(literal(removed, ARRAY(Text))) if removed else merged
