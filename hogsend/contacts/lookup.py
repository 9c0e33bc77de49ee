"""Finding contacts: by key, alias or id, with or without their locks; and conditions that search for them.

The order of locks, here and wherever a key changes hands: first the keys (`key_subject`), then the contacts.
A live contact loses a key only to someone who holds that key's lock, so a contact that was found by a key and is
still alive once its own lock is held is still the right one.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any, Literal, cast
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
    statement, values = naming(ref=ref)
    return await one(conn, statement, values)


async def find_by(
    conn: AsyncConnection,
    *,
    id: UUID | None = None,
    external_id: str | None = None,
    email: str | None = None,
) -> Contact | None:
    """The live contact with this one key. The email is normalised here; a malformed one finds nobody."""
    statement, values = naming(id=id, external_id=external_id, email=email)
    return await one(conn, statement, values)


def naming(
    *,
    ref: str | None = None,
    id: UUID | None = None,
    external_id: str | None = None,
    email: str | None = None,
) -> tuple[Executable, dict[str, Any]]:
    """The statement that reads the live contact with this one key, and its values; statements are built once."""
    values: dict[str, Any] = {"ref": ref, "id": id, "external_id": external_id}
    if email is not None:
        values["email"] = delivery_address(email)
    if ref is not None:
        with suppress(ValueError):
            values["id"] = UUID(ref)
        values["external_id"] = ref
    given = {name: value for name, value in values.items() if value is not None and name != "ref"}
    return _naming(cast(Any, tuple(given))), given


@cache
def _naming(keys: tuple[KeyKind | Literal["id"], ...]) -> Executable:
    """An id goes before a key, a key before an alias of another contact."""
    candidates: list[Select[Any]] = []
    for key in keys:
        if key == "id":
            survivor = _survivor_of(bindparam("id", type_=contacts.c.id.type))
            candidates.append(select(literal(0).label("rank"), contacts).where(_c.id == survivor))
        else:
            own = select(literal(1).label("rank"), contacts)
            candidates.append(own.where(_c[key] == bindparam(key), _c.deleted_at.is_(None)))
            candidates.append(_by_alias(literal(2), key, bindparam(key)))
    return union_all(*candidates).order_by("rank").limit(1)


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


def _survivor_of(contact_id: Any) -> Any:
    """The id itself where it is alive, else of the one that it was merged into. Chains are one step long."""
    return (
        select(case((_c.deleted_at.is_(None), _c.id), else_=_c.merged_into))
        .where(_c.id == contact_id)
        .correlate(None)
        .scalar_subquery()
    )


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
