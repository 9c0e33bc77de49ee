"""Contact import, one batch: a few hundred rows of a file, upserted in a handful of statements."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.clock import Clock
from hogsend.consent.inheritance import inherit_opt_outs
from hogsend.consent.ledger import refused_among
from hogsend.contacts.identity_keys import Keys, key_subject
from hogsend.contacts.import_files import ImportRow
from hogsend.contacts.resolve import resolve
from hogsend.errors import InvalidInput
from hogsend.storage.database import lock_subjects
from hogsend.storage.metadata import new_id
from hogsend.validation import NOBODYS, check_email, check_properties, check_user_id

# A piece holds up to 1,500 locks, and the server has room for a few thousand in all.
ONE_AT_A_TIME = 7_312_001
TAKEN = "Email belongs to another contact"


@dataclass(frozen=True)
class Upsert:
    """One row of a file that can be taken in: a contact to make or update."""

    row: int
    external_id: str
    email: str | None
    properties: Mapping[str, Any]


@dataclass(frozen=True)
class KnownContact:
    """A live contact that a row may speak of."""

    id: UUID
    external_id: str | None
    email: str | None


@dataclass(frozen=True)
class Owners:
    """The live contacts that the keys of a batch resolve to."""

    by_external_id: Mapping[str, KnownContact]
    by_email: Mapping[str, KnownContact]

    def ids(self) -> set[UUID]:
        return {known.id for known in (*self.by_external_id.values(), *self.by_email.values())}


@dataclass(frozen=True)
class Batch:
    """What is to be done with each row: made, updated, or looked at one by one; and what is wrong with the rest."""

    new: Sequence[Upsert]
    same: Sequence[tuple[UUID, Upsert]]
    moved: Sequence[Upsert]
    refused: Sequence[tuple[int, str]]


def judge(
    first_row: int, rows: Iterable[ImportRow], refused: Collection[str]
) -> tuple[list[Upsert], list[tuple[int, str]]]:
    """The rows that can be taken in, and (row number, reason) for those that cannot."""
    people: list[Upsert] = []
    errors: list[tuple[int, str]] = []
    for number, row in enumerate(rows, first_row):
        try:
            people.append(_person(number, row, refused))
        except InvalidInput as error:
            errors.append((number, error.message))
    return people, errors


def _person(number: int, row: ImportRow, refused: Collection[str]) -> Upsert:
    if isinstance(row, str):
        raise InvalidInput("row", row)
    external_id, email, properties = row
    if external_id is None or external_id == "":
        raise InvalidInput("externalId", "Missing externalId")
    check_user_id("externalId", external_id, refused)
    if email is not None and email != "":
        try:
            email = check_email("email", email)
        except InvalidInput:
            raise InvalidInput("email", "Invalid email format") from None
    check_properties("properties", properties)
    return Upsert(number, external_id, email or None, properties)


async def take_in(
    conn: AsyncConnection,
    clock: Clock,
    first_row: int,
    rows: Sequence[ImportRow],
    refused: Collection[str] = NOBODYS,
) -> list[tuple[int, str]]:
    """Upsert the rows by external id, in the caller's transaction. Returns (row number, reason) of the bad ones.

    Takes the locks of every key, then of every contact, as `resolve` does for one.
    """
    people, errors = judge(first_row, rows, refused)
    await conn.execute(text("SELECT pg_advisory_xact_lock(:one)"), {"one": ONE_AT_A_TIME})
    # The table may be a thousand times larger than when a plan was last kept.
    await conn.execute(text("SET LOCAL plan_cache_mode = force_custom_plan"))
    known = await _lock_all(conn, people)
    todo = sort_out(people, known)
    await _insert(conn, clock, todo.new)
    await _update(conn, clock.now(), todo.same)
    for person in todo.moved:
        keys = Keys.checked(person.external_id, person.email)
        await resolve(conn, clock, keys, person.properties, seen=False)
    return sorted([*errors, *todo.refused])


def sort_out(people: Iterable[Upsert], known: Owners, claimed: set[str] | None = None) -> Batch:
    """Decide about each row: it fills in, updates, joins a lead to its user, and never joins two users.

    `claimed` collects the addresses that earlier rows have taken.
    """
    new: list[Upsert] = []
    same: list[tuple[UUID, Upsert]] = []
    moved: list[Upsert] = []
    refused: list[tuple[int, str]] = []
    claimed = set() if claimed is None else claimed
    touched: set[UUID] = set()
    for person in people:
        mine = known.by_external_id.get(person.external_id)
        holder = known.by_email.get(person.email) if person.email else None
        if person.email and person.email in claimed:
            refused.append((person.row, TAKEN))
            continue
        if holder and (mine is None or holder.id != mine.id) and holder.external_id is not None:
            refused.append((person.row, TAKEN))
            continue
        if person.email:
            claimed.add(person.email)
        if mine is None and holder is None:
            new.append(person)
        elif mine is not None and person.email in (None, mine.email) and mine.id not in touched:
            touched.add(mine.id)
            same.append((mine.id, person))
        else:
            moved.append(person)
    return Batch(new, same, moved, refused)


async def owners_of(conn: AsyncConnection, people: Sequence[Upsert]) -> Owners:
    """Two statements, however many rows."""
    externals = [person.external_id for person in people]
    emails = [person.email for person in people if person.email is not None]
    return Owners(
        await _owners(conn, "external_id", externals),
        await _owners(conn, "email", emails) if emails else {},
    )


async def _owners(conn: AsyncConnection, kind: str, values: Sequence[str]) -> dict[str, KnownContact]:
    rows = await conn.execute(_OWNERS[kind], {"values": list(values)})
    return {row.key: KnownContact(row.id, row.external_id, row.email) for row in rows}


_OWNERS = {
    kind: text(f"""
        SELECT c.{kind} AS key, c.id, c.external_id, c.email FROM contacts c
        WHERE c.{kind} = ANY(CAST(:values AS text[])) AND c.deleted_at IS NULL
        UNION ALL
        SELECT a.value, c.id, c.external_id, c.email FROM contact_aliases a JOIN contacts c ON c.id = a.contact_id
        WHERE a.kind = '{kind}' AND a.value = ANY(CAST(:values AS text[])) AND c.deleted_at IS NULL
    """)
    for kind in ("external_id", "email")
}


async def _lock_all(conn: AsyncConnection, people: Sequence[Upsert]) -> Owners:
    """Lock the keys, then the contacts they belong to; again where a merge gave them to another meanwhile."""
    keys = [key_subject("external_id", person.external_id) for person in people]
    keys += [key_subject("email", person.email) for person in people if person.email is not None]
    await lock_subjects(conn, keys)
    held: set[UUID] = set()
    while True:
        known = await owners_of(conn, people)
        if known.ids() <= held:
            return known
        await lock_subjects(conn, known.ids())
        held |= known.ids()


async def _insert(conn: AsyncConnection, clock: Clock, people: Sequence[Upsert]) -> None:
    if not people:
        return
    ids = [new_id() for _ in people]
    await conn.execute(
        text(
            "INSERT INTO contacts (id, external_id, email, properties,"
            " first_seen_at, last_seen_at, created_at, updated_at)"
            " SELECT id, external_id, email, properties::jsonb, :now, :now, :now, :now"
            " FROM unnest(CAST(:ids AS uuid[]), CAST(:externals AS text[]), CAST(:emails AS text[]),"
            " CAST(:properties AS text[])) AS t(id, external_id, email, properties)"
        ),
        {
            "now": clock.now(),
            "ids": ids,
            "externals": [person.external_id for person in people],
            "emails": [person.email for person in people],
            "properties": [_json(_kept(person)) for person in people],
        },
    )
    emails = {person.email: made for made, person in zip(ids, people, strict=True) if person.email}
    for email in await refused_among(conn, list(emails)):
        await inherit_opt_outs(conn, clock, emails[email], email)


async def _update(conn: AsyncConnection, now: datetime, people: Sequence[tuple[UUID, Upsert]]) -> None:
    changing = [(contact_id, person) for contact_id, person in people if person.properties]
    if not changing:
        return
    await conn.execute(
        text(
            "UPDATE contacts c SET properties = v.properties, updated_at = :now FROM ("
            " SELECT old.id, (old.properties || t.kept::jsonb)"
            "   - ARRAY(SELECT jsonb_array_elements_text(t.removed::jsonb)) AS properties"
            " FROM unnest(CAST(:ids AS uuid[]), CAST(:kept AS text[]), CAST(:removed AS text[]))"
            "   AS t(id, kept, removed) JOIN contacts old ON old.id = t.id) v"
            " WHERE c.id = v.id AND c.properties <> v.properties"
        ),
        {
            "now": now,
            "ids": [contact_id for contact_id, _ in changing],
            "kept": [_json(_kept(person)) for _, person in changing],
            "removed": [_json(_removed(person)) for _, person in changing],
        },
    )


def _kept(person: Upsert) -> dict[str, Any]:
    return {key: value for key, value in person.properties.items() if value is not None}


def _removed(person: Upsert) -> list[str]:
    return [key for key, value in person.properties.items() if value is None]


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
