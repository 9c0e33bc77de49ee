"""What every table shares: one MetaData, the naming of constraints, and the column types in use."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import uuid_utils.compat as uuid_utils
from sqlalchemy import CheckConstraint, Column, DateTime, MetaData
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import UUID as PG_UUID

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def new_id() -> UUID:
    """A time-ordered id (UUID 7): rows that are written together lie together."""
    return UUID(bytes=uuid_utils.uuid7().bytes)


def secret_id() -> UUID:
    """An id that nobody can guess (UUID 4), for what is opened by its id alone, without a key.

    Neither made of what a caller gave, nor of the time.
    """
    return uuid4()


def uuid(name: str, *args: Any, **kwargs: Any) -> Column[UUID]:
    return Column(name, PG_UUID(as_uuid=True), *args, **kwargs)


def instant(name: str, *args: Any, **kwargs: Any) -> Column[Any]:
    """A timestamptz; always bound from the injected clock, never from SQL's own."""
    return Column(name, DateTime(timezone=True), *args, **kwargs)


def json(name: str, *args: Any, **kwargs: Any) -> Column[Any]:
    return Column(name, JSONB(none_as_null=True), *args, **kwargs)


def one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    """A constraint that holds a text column to a fixed set of words."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)
