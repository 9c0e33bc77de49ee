"""Tables of the outbox, the job queue, the crons and the anchor of product time."""

from sqlalchemy import BigInteger, Column, Float, Identity, Index, Integer, Table, Text, text

from hogsend.storage.metadata import instant, json, metadata, one_of, uuid

# What is for PostHog waits in a lane of its own: however much of it piles up, it is in nobody's way.
PUBLISHED_AT_ONCE = text("published_at IS NULL AND topic <> 'analytics.capture'")
CAPTURED_ASIDE = text("published_at IS NULL AND topic = 'analytics.capture'")

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("topic", Text, nullable=False),
    json("payload", nullable=False),
    Column("dedupe_key", Text, unique=True),
    instant("created_at", nullable=False, comment="real time"),
    instant("available_at", nullable=False, comment="real time; pushed back after a failure"),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    instant("published_at", comment="real time"),
    Column("error", Text),
    Index("ix_outbox_unpublished", "available_at", "id", postgresql_where=PUBLISHED_AT_ONCE),
    Index("ix_outbox_captures", "available_at", "id", postgresql_where=CAPTURED_ASIDE),
    Index("ix_outbox_published", "published_at", postgresql_where=text("published_at IS NOT NULL")),
)

jobs = Table(
    "jobs",
    metadata,
    uuid("id", primary_key=True),
    Column("kind", Text, nullable=False),
    json("payload", nullable=False),
    Column("dedupe_key", Text, unique=True),
    Column("status", Text, nullable=False, server_default=text("'pending'")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("max_attempts", Integer, nullable=False, server_default=text("8")),
    instant("run_at", nullable=False, comment="real time"),
    instant("lease_until", comment="real time"),
    Column("lease_owner", Text),
    Column("error", Text),
    instant("created_at", nullable=False),
    instant("finished_at"),
    Column("trace", Text, comment="W3C trace context of what queued it, where traces are kept"),
    one_of("status", ("pending", "running", "done", "dead")),
    Index("ix_jobs_leased", "lease_owner", postgresql_where=text("lease_owner IS NOT NULL")),
    Index("ix_jobs_finished", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    Index("ix_jobs_due", "run_at", postgresql_where=text("status IN ('pending', 'running')")),
)

crons = Table(
    "crons",
    metadata,
    Column("name", Text, primary_key=True),
    instant("last_run_at", comment="real time"),
    Column("last_error", Text),
)

clock = Table(
    "clock",
    metadata,
    Column("id", Integer, primary_key=True),
    instant("anchor_wall", nullable=False),
    instant("anchor_product", nullable=False),
    Column("speed", Float, nullable=False),
    instant("seen_product", nullable=False, comment="the latest product time that a worker noted"),
    instant("noted_at", nullable=False, comment="real time"),
    comment="Where sped-up product time is anchored, so that every process agrees",
)
