"""Tables of contacts, their aliases and preferences, and of imports."""

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from hogsend.storage.metadata import instant, json, metadata, one_of, uuid

ALIVE = text("deleted_at IS NULL")

contacts = Table(
    "contacts",
    metadata,
    uuid("id", primary_key=True),
    Column("external_id", Text),
    Column("email", Text, comment="trimmed and lower-cased"),
    Column("anonymous_id", Text),
    json("properties", nullable=False, server_default=text("'{}'::jsonb")),
    instant("first_seen_at", nullable=False),
    instant("last_seen_at", nullable=False),
    instant("created_at", nullable=False),
    instant("updated_at", nullable=False),
    instant("deleted_at"),
    uuid("merged_into", ForeignKey("contacts.id"), comment="the survivor; set together with deleted_at"),
    Index("uq_contacts_external_id", "external_id", unique=True, postgresql_where=ALIVE),
    Index("uq_contacts_email", "email", unique=True, postgresql_where=ALIVE),
    Index("uq_contacts_anonymous_id", "anonymous_id", unique=True, postgresql_where=ALIVE),
    Index("ix_contacts_last_seen", text("last_seen_at DESC"), text("id DESC"), postgresql_where=ALIVE),
    Index("ix_contacts_created", text("created_at DESC"), text("id DESC"), postgresql_where=ALIVE),
    Index("ix_contacts_merged_into", "merged_into"),
    Index(
        "ix_contacts_search",
        text("(coalesce(email, '') || ' ' || coalesce(external_id, '')) gin_trgm_ops"),
        postgresql_using="gin",
        postgresql_where=ALIVE,
    ),
)

contact_aliases = Table(
    "contact_aliases",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    uuid("contact_id", ForeignKey("contacts.id"), nullable=False, index=True),
    instant("created_at", nullable=False),
    one_of("kind", ("external_id", "email", "anonymous_id")),
    comment="Keys a merge took from the contact that lost; they keep resolving to the survivor",
)

contact_preferences = Table(
    "contact_preferences",
    metadata,
    uuid("id", primary_key=True),
    uuid("contact_id", ForeignKey("contacts.id"), nullable=False),
    Column("email", Text, nullable=False),
    Column("unsubscribed_all", Boolean, nullable=False, server_default=text("false")),
    Column("suppressed", Boolean, nullable=False, server_default=text("false")),
    Column("bounce_count", Integer, nullable=False, server_default=text("0")),
    json("categories", nullable=False, server_default=text("'{}'::jsonb"), comment="{category: subscribed}"),
    instant("suppressed_at"),
    instant("last_bounce_at"),
    instant("created_at", nullable=False),
    instant("updated_at", nullable=False),
    UniqueConstraint("contact_id"),
    Index("ix_contact_preferences_email", "email"),
)

import_jobs = Table(
    "import_jobs",
    metadata,
    uuid("id", primary_key=True),
    Column("status", Text, nullable=False, server_default=text("'pending'")),
    Column("format", Text, nullable=False),
    Column("file_name", Text),
    Column("total_rows", Integer, nullable=False, server_default=text("0")),
    Column("processed_rows", Integer, nullable=False, server_default=text("0")),
    Column("failed_rows", Integer, nullable=False, server_default=text("0")),
    Column("error", Text, comment="why the whole job failed"),
    Column("actor", Text),
    instant("created_at", nullable=False),
    instant("updated_at", nullable=False),
    instant("completed_at"),
    one_of("status", ("pending", "processing", "completed", "failed")),
    one_of("format", ("csv", "json")),
    Index("ix_import_jobs_created", text("created_at DESC"), text("id DESC")),
)

import_batches = Table(
    "import_batches",
    metadata,
    uuid("job_id", ForeignKey("import_jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("first_row", Integer, primary_key=True, autoincrement=False, comment="counted from 1"),
    Column("rows", LargeBinary, nullable=False, comment="a JSON array"),
    comment="What is left of a file: one transaction takes one in and deletes it",
)

import_errors = Table(
    "import_errors",
    metadata,
    uuid("job_id", ForeignKey("import_jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("error", Text, nullable=False),
)
