"""The consent ledger: what was said about an address, by a keyed hash of it, from what is known so far."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from hogsend.addresses import delivery_address

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _make_ledger()
    _respell_addresses(op.get_bind())
    _fill_ledger()
    op.add_column(
        "email_sends",
        sa.Column(
            "explicit",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
            comment="what was asked for explicitly (to, subject …): a resend repeats it",
        ),
    )


def _make_ledger() -> None:
    op.create_table(
        "consent_ledger",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("address_hash", sa.LargeBinary(), nullable=False, comment="consent_hash(address)"),
        sa.Column(
            "scope", sa.Text(), nullable=False, comment="all, category:<name>, bounce, complaint, manual"
        ),
        sa.Column("allowed", sa.Boolean(), nullable=False),
        sa.Column(
            "source",
            sa.Text(),
            nullable=False,
            comment="who said so: one-click, form, operator, provider, merge …",
        ),
        sa.Column(
            "evidence",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_consent_ledger")),
        comment="Outlives the contact, merges, deletion and a change of address",
    )
    op.create_index(
        "ix_consent_ledger_address", "consent_ledger", ["address_hash", "scope", sa.text("seq DESC")]
    )
    op.create_table(
        "consent_key",
        sa.Column(
            "key",
            sa.LargeBinary(),
            nullable=False,
            comment="what consent_hash is keyed with; made once, kept for ever",
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_consent_key")),
    )
    # 244 bits of the server's strong randomness: gen_random_uuid needs no extension.
    op.execute(
        "INSERT INTO consent_key (key)"
        " VALUES (sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')))"
    )
    op.execute(
        "CREATE FUNCTION consent_hash(address text) RETURNS bytea LANGUAGE sql STABLE STRICT PARALLEL SAFE AS"
        " $$ SELECT sha256((SELECT key FROM consent_key) || convert_to(address, 'UTF8')) $$"
    )


# Each column that holds addresses, with the condition under which a row may take another spelling.
_ADDRESSES = (
    (
        "contacts",
        "email",
        "NOT EXISTS (SELECT FROM contacts o WHERE o.email = :new AND o.deleted_at IS NULL)",
    ),
    (
        "contact_aliases",
        "value",
        "t.kind = 'email' AND NOT EXISTS"
        " (SELECT FROM contact_aliases o WHERE o.kind = 'email' AND o.value = :new)",
    ),
    ("contact_preferences", "email", "true"),
    ("email_sends", "to_email", "true"),
    (
        "suppressions",
        "email",
        "NOT EXISTS (SELECT FROM suppressions o WHERE o.email = :new AND o.type = t.type)",
    ),
)


def _respell_addresses(connection: sa.Connection) -> None:
    """Spell addresses in the one way where trimming and lower case, which was done before, is not all of it.

    Two contacts whose addresses are now one stay two, the second under its former spelling: a merge is a decision.
    """
    odd = "~ '[^ -~]|xn--'"
    found = connection.execute(
        sa.text(
            " UNION ".join(
                f"SELECT {column} FROM {table} WHERE {column} {odd}" for table, column, _ in _ADDRESSES
            )
        )
    ).scalars()
    for old in found.all():
        new = delivery_address(old)
        if new == old:
            continue
        for table, column, allowed in _ADDRESSES:
            connection.execute(
                sa.text(f"UPDATE {table} t SET {column} = :new WHERE t.{column} = :old AND {allowed}"),
                {"old": old, "new": new},
            )


def _fill_ledger() -> None:
    """What stands against an address today. Where a contact that lives spoke last, what it says is what holds."""
    op.execute("""
        INSERT INTO consent_ledger (address_hash, scope, allowed, source, evidence, at)
        WITH said AS (
            SELECT p.* FROM contact_preferences p JOIN contacts c ON c.id = p.contact_id
            WHERE p.email <> '' AND (c.deleted_at IS NULL OR NOT EXISTS (
                SELECT FROM contact_preferences q JOIN contacts d ON d.id = q.contact_id
                WHERE q.email = p.email AND d.email = q.email AND d.deleted_at IS NULL))
        ), standing AS (
            SELECT email, type AS scope, created_at AS at,
                   CASE WHEN email_id IS NULL THEN '{}'::jsonb ELSE jsonb_build_object('email_id', email_id) END AS evidence
            FROM suppressions
            UNION ALL
            SELECT email, 'all', updated_at, jsonb_build_object('contact_id', contact_id)
            FROM said WHERE unsubscribed_all
            UNION ALL
            SELECT email, 'category:' || key, updated_at, jsonb_build_object('contact_id', contact_id)
            FROM said CROSS JOIN jsonb_each(categories) WHERE value = 'false'::jsonb
            UNION ALL
            SELECT email, 'manual', coalesce(suppressed_at, updated_at), jsonb_build_object('contact_id', contact_id)
            FROM said WHERE suppressed AND NOT EXISTS (SELECT FROM suppressions s WHERE s.email = said.email)
        )
        SELECT consent_hash(email), scope, false, 'before-the-ledger', evidence, at FROM standing ORDER BY at, scope
    """)


def downgrade() -> None:
    raise NotImplementedError("going back would forget opt-outs")
