"""Conditions and subqueries that find contacts: by a part of their keys, by any reference."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, ScalarSelect, and_, case, literal_column, or_, select, union_all

from hogsend.tables.contacts import contact_aliases, contacts

_c = contacts.c

# Spelled as the trigram index spells it.
_SEARCHED: ColumnElement[str] = literal_column("(coalesce(email, '') || ' ' || coalesce(external_id, ''))")


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
