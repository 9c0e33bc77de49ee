"""Finding contacts: by key, alias or id, with or without their locks; and conditions that search for them.

The order of locks, here and wherever a key changes hands: first the keys (`key_subject`), then the contacts.
A live contact loses a key only to someone who holds that key's lock, so a contact that was found by a key and is
still alive once its own lock is held is still the right one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Executable,
    ScalarSelect,
    Select,
    and_,
    bindparam,
    case,
    literal,
    literal_column,
    or_,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.addresses import delivery_address
from hogsend.contacts.identity_keys import KINDS, Contact, KeyKind, Keys, key_subject
from hogsend.storage.database import lock_subjects
from hogsend.tables.contacts import contact_aliases, contacts

_c = contacts.c

# Spelled as the trigram index spells it.
_SEARCHED: ColumnElement[str] = literal_column("(coalesce(email, '') || ' ' || coalesce(external_id, ''))")


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
        return (await owners(conn, Keys(email=delivery_address(email)))).get("email")
    return None


async def lock_contact(conn: AsyncConnection, contact_id: UUID) -> Contact | None:
    """Lock a contact and read it; one that was merged is followed to its survivor. None where it is deleted."""
    while True:
        await lock_subjects(conn, [contact_id])
        row = await one(conn, select(contacts).where(_c.id == contact_id))
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
        row = await one(conn, select(contacts).where(_c.id == _survivor_of(contact_id)))
        if row is None:
            return None
        keys = {kind: row[kind] for kind in KINDS}
        names = [key_subject(kind, value) for kind, value in keys.items() if value is not None]
        if and_email is not None:
            names.append(key_subject("email", and_email))
        async with conn.begin_nested() as savepoint:
            await lock_subjects(conn, names)
            await lock_subjects(conn, [row["id"]])
            fresh = await one(conn, alive(row["id"]))
            if fresh is not None and all(fresh[kind] == value for kind, value in keys.items()):
                return fresh
            await savepoint.rollback()


async def owners(conn: AsyncConnection, keys: Keys) -> dict[KeyKind, Contact]:
    """The live contact that each of `keys` resolves to, by its own key or by an alias. One statement."""
    rows = (await conn.execute(_owning(tuple(kind for kind, _ in keys)), dict(keys))).all()
    return {row.kind: row._asdict() for row in rows}


@cache
def _owning(kinds: tuple[KeyKind, ...]) -> Executable:
    """Built once for each set of kinds: every event asks it, and building costs as much as asking."""
    parts: list[Select[Any]] = []
    for kind in kinds:
        own = select(literal(kind).label("kind"), contacts)
        parts.append(own.where(_c[kind] == bindparam(kind), _c.deleted_at.is_(None)))
        parts.append(_by_alias(literal(kind), kind, bindparam(kind)))
    return union_all(*parts)


def _by_alias(label: Any, kind: KeyKind, value: Any) -> Select[Any]:
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
    return await one(conn, union_all(*candidates).order_by("rank").limit(1))


def alive(contact_id: UUID) -> Select[Any]:
    """Reads the contact with this id where it is not deleted."""
    return select(contacts).where(_c.id == contact_id, _c.deleted_at.is_(None))


async def one(
    conn: AsyncConnection, statement: Executable, values: Mapping[str, Any] | None = None
) -> Contact | None:
    """The one row of a statement that returns contacts, or None."""
    row = (await conn.execute(statement, values)).one_or_none()
    return None if row is None else row._asdict()


def matches(part: str) -> ColumnElement[bool]:
    """`part` is somewhere in the email or the external id, whatever its case; `%` and `_` are plain characters."""
    escaped = part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    pattern = f"%{escaped}%"
    return and_(
        _SEARCHED.ilike(pattern, escape="\\"),
        or_(_c.email.ilike(pattern, escape="\\"), _c.external_id.ilike(pattern, escape="\\")),
    )


def id_of(ref: str) -> ScalarSelect[UUID]:
    """The id of the contact with this external id, alias or UUID, as a subquery: null where there is none."""
    alias = contact_aliases.c
    candidates: list[Any] = [
        select(_c.id.label("id")).where(_c.external_id == ref, _c.deleted_at.is_(None)),
        select(alias.contact_id).where(alias.kind == "external_id", alias.value == ref),
    ]
    try:
        contact_id = UUID(ref)
    except ValueError:
        pass
    else:
        survivor = case((_c.merged_into.is_(None), _c.id), else_=_c.merged_into)
        candidates.append(select(survivor).where(_c.id == contact_id))
    found = union_all(*candidates).subquery("who")
    return select(found.c.id).limit(1).scalar_subquery()
