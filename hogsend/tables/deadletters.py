"""Table of dead letters: what could not be done, kept for a person; and the words of its columns."""

from enum import StrEnum

from sqlalchemy import Column, Index, Integer, Table, Text, text

from hogsend.storage.metadata import instant, json, metadata, one_of, uuid


class DeadLetterSource(StrEnum):
    """What could not be done: a send, a run, or background work."""

    EMAIL = "email"
    JOURNEY = "journey"
    WEBHOOK = "webhook"


class DeadLetterStatus(StrEnum):
    """How far it is settled."""

    PENDING = "pending"
    RETRIED = "retried"
    DISCARDED = "discarded"


SOURCES = tuple(DeadLetterSource)
STATUSES = tuple(DeadLetterStatus)

dead_letters = Table(
    "dead_letters",
    metadata,
    uuid("id", primary_key=True),
    Column("source", Text, nullable=False),
    Column("source_id", Text),
    json("payload", nullable=False),
    Column("error", Text, nullable=False),
    Column("retry_count", Integer, nullable=False, server_default=text("0")),
    Column("status", Text, nullable=False, server_default=text("'pending'")),
    instant("retried_at"),
    instant("created_at", nullable=False),
    instant("updated_at", nullable=False),
    one_of("source", SOURCES),
    one_of("status", STATUSES),
    Index("uq_dead_letters_source", "source", "source_id", unique=True),
    Index("ix_dead_letters_created", text("created_at DESC"), text("id DESC")),
    Index("ix_dead_letters_status", "status", text("created_at DESC"), text("id DESC")),
)
