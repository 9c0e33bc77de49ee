"""Identity resolution of many at once, for the plain cases: keys of nobody, and keys that are one contact's own.

Whatever links, merges or would have to wait is left to `resolve`, one by one. So nobody waits here for a subject's
lock while holding another, and a stranger who holds one keeps nobody but the events of that one person.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Text, column, text
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.clock import Clock
from hogsend.consent.inheritance import inherit_opt_outs
from hogsend.consent.ledger import spoken_of
from hogsend.contacts.identity_keys import KINDS, Contact, KeyKind, Keys, key_subject
from hogsend.storage.bulk import BulkInsert, as_json
from hogsend.storage.database import busy_subjects
from hogsend.storage.metadata import new_id
from hogsend.tables.contacts import contacts

_OWN = " UNION ALL ".join(
    f"SELECT '{kind}' AS kind, asked.value AS value, c.* FROM unnest(CAST(:{kind} AS text[])) AS asked(value)"
    f" JOIN contacts c ON c.{kind} = asked.value AND c.deleted_at IS NULL"
    for kind in KINDS
)
_BY_ALIAS = (
    "SELECT a.kind, a.value, c.* FROM unnest(CAST(:kinds AS text[]), CAST(:values AS text[])) AS asked(kind, value)"
    " JOIN contact_aliases a ON a.kind = asked.kind AND a.value = asked.value"
    " JOIN contacts c ON c.id = a.contact_id AND c.deleted_at IS NULL"
)
_OWNERS = text(f"{_OWN} UNION ALL {_BY_ALIAS}").columns(
    column("kind", Text), column("value", Text), *contacts.c
)
_MERGED = "(c.properties || CAST(said.kept AS jsonb)) - said.removed"
_WRITE = text(
    f"UPDATE contacts c SET last_seen_at = greatest(c.last_seen_at, :now), properties = {_MERGED},"
    f" updated_at = CASE WHEN {_MERGED} <> c.properties THEN :now ELSE c.updated_at END FROM ("
    "  SELECT id, kept, ARRAY(SELECT jsonb_array_elements_text(CAST(removed AS jsonb))) AS removed"
    "  FROM unnest(CAST(:ids AS uuid[]), CAST(:kept AS text[]), CAST(:removed AS text[])) AS given(id, kept, removed)"
    " ) AS said WHERE c.id = said.id AND c.deleted_at IS NULL RETURNING c.*"
).columns(*contacts.c)
_MAKE = BulkInsert(
    contacts,
    (
        "id",
        "external_id",
        "email",
        "anonymous_id",
        "properties",
        "first_seen_at",
        "last_seen_at",
        "created_at",
        "updated_at",
    ),
    "ON CONFLICT DO NOTHING RETURNING contacts.*",
)
_MADE = _MAKE.statement.columns(*contacts.c)


@dataclass(frozen=True)
class Said:
    """What one call says of a person. Several of one call may have the same keys; properties come with the first."""

    keys: Keys
    properties: Mapping[str, Any] = field(default_factory=dict)


async def resolve_plain(conn: AsyncConnection, clock: Clock, said: Sequence[Said]) -> list[Contact | None]:
    """The contact of each as it now is; None where `resolve` must be asked, of that person's later ones too.

    In the caller's transaction; until it ends, the locks of the keys and the contacts are held.
    """
    names = {key_subject(kind, value) for one in said for kind, value in one.keys}
    busy = set(await busy_subjects(conn, names))
    known = await _owners(conn, [one.keys for one in said])
    plain = _Plain()
    for one in said:
        plain.add(one, [owner for key in one.keys for owner in known.get(key, ())], busy)
    held = {str(contact_id) for contact_id in plain.existing}
    locked = held.difference(await busy_subjects(conn, held))
    now = clock.now()
    written = await _write(conn, now, {i: one for i, one in plain.existing.items() if str(i) in locked})
    made = await _make(conn, now, plain.new)
    await _inherit(conn, clock, made)
    return [None if place is None else (written | made).get(place) for place in plain.places]


class _Plain:
    """Who is plain: parted into those to write and those to make, by the id of the contact."""

    def __init__(self) -> None:
        self.existing: dict[UUID, Said] = {}
        self.new: dict[UUID, Said] = {}
        self.places: list[UUID | None] = []
        self._closed: set[UUID] = set()
        self._made: dict[Keys, UUID] = {}

    def add(self, said: Said, owners: Collection[Contact], busy: Collection[str]) -> None:
        """Whoever is left to `resolve` closes its contacts to those behind it: one person's stay in order."""
        ids = {owner["id"] for owner in owners}
        free = busy == set() or not any(key_subject(kind, value) in busy for kind, value in said.keys)
        place = None
        if free and not ids:
            place = self._made.setdefault(said.keys, new_id())
            self.new.setdefault(place, said)
        elif free and len(ids) == 1 and not ids & self._closed:
            (owner,) = list(owners)[:1]
            first = self.existing.get(owner["id"])
            if first is None and all(owner[kind] == value for kind, value in said.keys):
                self.existing[owner["id"]] = said
                place = owner["id"]
            elif first is not None and first.keys == said.keys:
                place = owner["id"]
        if place is None:
            self._closed |= ids
        self.places.append(place)


async def known_together(conn: AsyncConnection, keys: Sequence[Keys]) -> list[set[str]]:
    """For each contact, the subjects of those of these keys that lead to it. Takes no locks."""
    known: dict[UUID, set[str]] = {}
    for (kind, value), owners in (await _owners(conn, keys)).items():
        for owner in owners:
            known.setdefault(owner["id"], set()).add(key_subject(kind, value))
    return list(known.values())


async def _owners(conn: AsyncConnection, asked: Sequence[Keys]) -> dict[tuple[KeyKind, str], list[Contact]]:
    """The live contacts to which each key leads, by itself or as an alias. One statement."""
    keys = list({key: None for one in asked for key in one})
    given: dict[str, list[str]] = {kind: [value for of, value in keys if of == kind] for kind in KINDS}
    given |= {"kinds": [kind for kind, _ in keys], "values": [value for _, value in keys]}
    found: dict[tuple[KeyKind, str], list[Contact]] = {}
    for row in await conn.execute(_OWNERS, given):
        owner = row._asdict()
        found.setdefault((owner.pop("kind"), owner.pop("value")), []).append(owner)
    return found


async def _write(conn: AsyncConnection, now: datetime, said: Mapping[UUID, Said]) -> dict[UUID, Contact]:
    """Merge properties at the top level, null removing one, and note the time; those that are alive."""
    if not said:
        return {}
    properties = [one.properties for one in said.values()]
    given = {
        "ids": list(said),
        "kept": [as_json({k: v for k, v in one.items() if v is not None}) for one in properties],
        "removed": [as_json([k for k, v in one.items() if v is None]) for one in properties],
    }
    rows = await conn.execute(_WRITE, given | {"now": now})
    return {row.id: row._asdict() for row in rows}


async def _make(conn: AsyncConnection, now: datetime, said: Mapping[UUID, Said]) -> dict[UUID, Contact]:
    """New contacts, but for those whose key somebody without its lock has just taken."""
    if not said:
        return {}
    rows = [
        {
            "id": contact_id,
            **{kind: one.keys.get(kind) for kind in KINDS},
            "properties": {key: value for key, value in one.properties.items() if value is not None},
            **dict.fromkeys(("first_seen_at", "last_seen_at", "created_at", "updated_at"), now),
        }
        for contact_id, one in said.items()
    ]
    return {row.id: row._asdict() for row in await conn.execute(_MADE, _MAKE.given(rows))}


async def _inherit(conn: AsyncConnection, clock: Clock, made: Mapping[UUID, Contact]) -> None:
    """Show new contacts what was said about their addresses before."""
    by_email = {row["email"]: contact_id for contact_id, row in made.items() if row["email"] is not None}
    for email in await spoken_of(conn, by_email) if by_email else ():
        await inherit_opt_outs(conn, clock, by_email[email], email)
