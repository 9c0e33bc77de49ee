"""Lists of contacts, of their preferences and timelines, and of imports."""

from __future__ import annotations

from sqlalchemy import (
    ColumnElement,
    and_,
    or_,
)

from hogsend.contacts.lookup import matches
from hogsend.realtime.order import head_of_statement
from hogsend.storage.collections import Collection, Sort
from hogsend.tables.contacts import contact_preferences, contacts, import_errors, import_jobs
from hogsend.tables.realtime import TIMELINE_KINDS, ActivityKind, activity

_c = contacts.c
_a = activity.c


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

PREFERENCES = Collection.of(
    "preferences", "preferences", contact_preferences, sorts=contact_preferences.c.created_at
)


def _first_of_each(_value: bool) -> ColumnElement[bool]:
    return or_(
        and_(_a.kind == ActivityKind.EVENT, _a.type == "received"),
        and_(_a.kind == ActivityKind.RUN, _a.type == "entered"),
        and_(_a.kind == ActivityKind.EMAIL, _a.type == "queued"),
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
        head_of_statement().label("head"),
    ),
    key=_a.seq,
    sorts={"at": Sort(_a.at), "recorded": Sort(_a.seq)},
    where=(_a.kind.in_(TIMELINE_KINDS),),
    filters={"kinds": lambda kinds: _a.kind.in_(kinds), "first_only": _first_of_each},
)

IMPORT_JOBS = Collection.of("import_jobs", "import", import_jobs, sorts=import_jobs.c.created_at)
IMPORT_ERRORS = Collection.of(
    "import_errors",
    "importerror",
    import_errors,
    key=import_errors.c.row,
    sorts=import_errors.c.row,
    descending=False,
)
