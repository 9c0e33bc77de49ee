"""The consent ledger: what was said about an address, by a keyed hash of it. Append-only; the last word counts."""

from sqlalchemy import BigInteger, Boolean, Column, Identity, Index, LargeBinary, Table, Text, text

from hogsend.storage.metadata import instant, json, metadata

consent_ledger = Table(
    "consent_ledger",
    metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    Column("address_hash", LargeBinary, nullable=False, comment="consent_hash(address)"),
    Column("scope", Text, nullable=False, comment="all, category:<name>, bounce, complaint, manual"),
    Column("allowed", Boolean, nullable=False),
    Column(
        "source", Text, nullable=False, comment="who said so: one-click, form, operator, provider, merge …"
    ),
    json("evidence", nullable=False, server_default=text("'{}'::jsonb")),
    instant("at", nullable=False),
    Index("ix_consent_ledger_address", "address_hash", "scope", text("seq DESC")),
    comment="Outlives the contact, merges, deletion and a change of address",
)

consent_key = Table(
    "consent_key",
    metadata,
    Column(
        "key",
        LargeBinary,
        primary_key=True,
        comment="what consent_hash is keyed with; made once, kept for ever",
    ),
)
