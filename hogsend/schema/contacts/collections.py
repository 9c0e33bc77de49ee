"""Read contacts: the lists that they come in, and what other lists say about whose they are."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    Text,
    and_,
    case,
    cast,
    func,
    literal_column,
    or_,
    select,
    union_all,
)

from hogsend.storage.collections import Collection, Sort
from hogsend.tables.contacts import contact_aliases, contact_preferences, contacts, import_errors, import_jobs
from hogsend.tables.realtime import activity

_c = contacts.c
_a = activity.c

# Spelled as the trigram index spells it.
_SEARCHED: ColumnElement[str] = literal_column("(coalesce(email, '') || ' ' || coalesce(external_id, ''))")

TIMELINE_KINDS = ("event", "state", "email", "decision")


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


CONTACTS = Collection(
    "contacts",
    "contact",
    columns=(
        _c.id,
        _c.external_id,
        _c.email,
        _c.anonymous_id,
        _c.properties,
        _c.first_seen_at,
        _c.last_seen_at,
        _c.created_at,
        _c.updated_at,
        _c.deleted_at,
        _c.merged_into,
    ),
    key=_c.id,
    sorts={"last_seen_at": Sort(_c.last_seen_at), "created_at": Sort(_c.created_at)},
    where=(_c.deleted_at.is_(None),),
    filters={"search": matches},
)

PREFERENCES = Collection(
    "preferences",
    "preferences",
    columns=tuple(contact_preferences.c),
    key=contact_preferences.c.id,
    sorts={"created_at": Sort(contact_preferences.c.created_at)},
)


def _first_of_each(_value: bool) -> ColumnElement[bool]:
    return or_(
        and_(_a.kind == "event", _a.type == "received"),
        and_(_a.kind == "state", _a.type == "entered"),
        and_(_a.kind == "email", _a.type == "queued"),
        _a.kind == "decision",
    )


TIMELINE = Collection(
    "timeline",
    "entry",
    columns=(
        _a.seq,
        _a.at,
        _a.kind,
        _a.type,
        _a.ref_id,
        _a.contact_id,
        _a.journey_id,
        # Of the very statement that reads the page: the stream goes on with what this page could not see.
        cast(func.pg_current_snapshot(), Text).label("snapshot"),
    ),
    key=_a.seq,
    sorts={"at": Sort(_a.at)},
    where=(_a.kind.in_(TIMELINE_KINDS),),
    filters={"kinds": lambda kinds: _a.kind.in_(kinds), "first_only": _first_of_each},
)


IMPORT_JOBS = Collection(
    "import_jobs",
    "import",
    columns=tuple(import_jobs.c),
    key=import_jobs.c.id,
    sorts={"created_at": Sort(import_jobs.c.created_at)},
)

IMPORT_ERRORS = Collection(
    "import_errors",
    "importerror",
    columns=tuple(import_errors.c),
    key=import_errors.c.row,
    sorts={"row": Sort(import_errors.c.row)},
    descending=False,
)
