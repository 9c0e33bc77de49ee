"""Tables of API keys, of the audit log and of idempotency keys."""

from sqlalchemy import BigInteger, Column, Identity, Index, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY

from hogsend.storage.metadata import instant, json, metadata, uuid

api_keys = Table(
    "api_keys",
    metadata,
    uuid("id", primary_key=True),
    Column("name", Text, nullable=False),
    Column(
        "key_hash", Text, nullable=False, unique=True, comment="SHA-256 in hex; the key itself is not kept"
    ),
    Column("key_prefix", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    instant("expires_at", comment="real time"),
    instant("revoked_at"),
    instant("last_used_at"),
    instant("created_at", nullable=False),
    Index("ix_api_keys_created", text("created_at DESC"), text("id DESC")),
)

audit_logs = Table(
    "audit_logs",
    metadata,
    uuid("id", primary_key=True),
    Column("seq", BigInteger, Identity(always=True), nullable=False),
    instant("created_at", nullable=False),
    Column("actor", Text, nullable=False),
    uuid("actor_key_id"),
    Column("action", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("resource_id", Text),
    Column("outcome", Text, nullable=False, server_default=text("'ok'"), comment="ok, refused or failed"),
    json("detail"),
    json("before"),
    json("after"),
    Column("ip_address", Text),
    Column("request_id", Text),
    Index("ix_audit_logs_created", text("created_at DESC"), text("id DESC")),
    Index("ix_audit_logs_actor", "actor", text("created_at DESC"), text("id DESC")),
    Index("ix_audit_logs_resource", "resource", text("created_at DESC"), text("id DESC")),
    Index("ix_audit_logs_action", "action", text("created_at DESC"), text("id DESC")),
)

audit_intents = Table(
    "audit_intents",
    metadata,
    uuid("id", primary_key=True, comment="of the audit row that it becomes"),
    instant("created_at", nullable=False),
    Column("actor", Text, nullable=False),
    uuid("actor_key_id"),
    Column("action", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("resource_id", Text),
    json("detail"),
    Column("ip_address", Text),
    Column("request_id", Text),
    Column("lease_owner", Text, comment="the process; null where it died"),
    instant("lease_until", comment="real time"),
    Index("ix_audit_intents_leased", "lease_owner", postgresql_where=text("lease_owner IS NOT NULL")),
    comment="Mutations of several transactions that have begun; each row goes when its audit row is written",
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("operation", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("input_hash", Text, nullable=False),
    json("answer", comment="null while the first call is under way"),
    json("progress", comment="what was done under the key so far, where that is several transactions"),
    instant("lease_until", comment="real time: after it an unanswered key may be tried again"),
    instant("created_at", nullable=False, index=True),
    Column("lease_owner", Text, comment="the process that has the effect"),
    uuid("claim", comment="which of its calls: an answer of another one is not kept"),
)
