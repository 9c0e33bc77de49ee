"""Table of decisions, the ledger: one append-only row for every verdict about a person."""

from sqlalchemy import BigInteger, Column, Identity, Index, Table, Text, text

from hogsend.storage.metadata import instant, json, metadata, uuid

decisions = Table(
    "decisions",
    metadata,
    uuid("id", primary_key=True),
    Column("seq", BigInteger, Identity(always=True), nullable=False),
    instant("at", nullable=False),
    Column("kind", Text, nullable=False),
    Column("reason", Text, nullable=False),
    json("detail", nullable=False, server_default=text("'{}'::jsonb")),
    uuid("contact_id"),
    Column("journey_id", Text),
    uuid("state_id"),
    uuid("event_id"),
    uuid("email_id"),
    Index("ix_decisions_at", text("at DESC"), text("id DESC")),
    Index("ix_decisions_contact", "contact_id", text("at DESC"), text("id DESC")),
    Index("ix_decisions_journey", "journey_id", text("at DESC"), text("id DESC")),
    Index("ix_decisions_state", "state_id", "seq"),
    Index("ix_decisions_event", "event_id", "journey_id"),
    Index("ix_decisions_email", "email_id", "seq"),
)
