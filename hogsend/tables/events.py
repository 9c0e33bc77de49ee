"""Tables of events, as they were reported."""

from sqlalchemy import BigInteger, Column, Identity, Index, SmallInteger, Table, Text, text

from hogsend.storage.metadata import instant, json, metadata, uuid

user_events = Table(
    "user_events",
    metadata,
    uuid("id", primary_key=True),
    instant("occurred_at", primary_key=True, comment="product time; partitions are cut on it"),
    Column(
        "seq",
        BigInteger,
        Identity(always=True),
        nullable=False,
        comment="the order in which a subject's arrived",
    ),
    uuid("contact_id"),
    Column("name", Text, nullable=False),
    json("properties", nullable=False, server_default=text("'{}'::jsonb")),
    Column("source", Text, nullable=False, server_default=text("'api'")),
    Column("idempotency_key", Text),
    instant("received_at", nullable=False),
    Column(
        "depth",
        SmallInteger,
        nullable=False,
        server_default=text("0"),
        comment="how many events journeys triggered, one from the other, up to this one",
    ),
    Column(
        "chain",
        SmallInteger,
        nullable=False,
        server_default=text("0"),
        comment="the same through whatever rests there were between them",
    ),
    Index("ix_user_events_contact_seq", "contact_id", "seq"),
    Index("ix_user_events_contact_name", "contact_id", "name", "seq"),
    Index("ix_user_events_contact", "contact_id", text("occurred_at DESC"), text("id DESC")),
    Index("ix_user_events_name", "name", text("occurred_at DESC"), text("id DESC")),
    Index("ix_user_events_occurred", text("occurred_at DESC"), text("id DESC")),
    postgresql_partition_by="RANGE (occurred_at)",
    comment="Partitioned by time on plain Postgres, a hypertable on TimescaleDB",
)

event_keys = Table(
    "event_keys",
    metadata,
    Column("key", Text, primary_key=True),
    uuid("event_id", nullable=False),
    instant("created_at", nullable=False, index=True),
    Column(
        "content_hash",
        Text,
        comment="of what an operator asked for: another input under the same key is an error",
    ),
    comment="Idempotency keys of events: their own table, so that events can be partitioned by time",
)
