"""Alembic's entry. Runs on a connection that `hogsend.storage.migrate` hands in, under its advisory lock."""

from __future__ import annotations

import re
from typing import Any, Literal

from alembic import context
from sqlalchemy import Connection

from hogsend.tables import metadata

_PARTITION = re.compile(r"user_events_(default|p\d{6})")


def include_name(name: str | None, kind: str, _parents: Any) -> bool:
    """Partitions are made by the events feature, not by revisions."""
    return not (kind == "table" and name is not None and _PARTITION.fullmatch(name))


def include_object(
    _item: Any,
    name: str | None,
    kind: Literal["schema", "table", "column", "index", "unique_constraint", "foreign_key_constraint"],
    _reflected: bool,
    _compare_to: Any,
) -> bool:
    return not (kind == "index" and name is not None and _PARTITION.match(name))


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        include_name=include_name,
        include_object=include_object,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])
