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
    _note_spellings(op.get_bind())
    _fill_ledger()
    _respell_addresses()
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


# Each column that holds addresses.
_ADDRESSES = (
    ("contacts", "email"),
    ("contact_aliases", "value"),
    ("contact_preferences", "email"),
    ("email_sends", "to_email"),
    ("suppressions", "email"),
)
# Trimming and lower case was done before; whatever else there may be to an address is Python's to judge.
_ODD = "~ '[^ -~]|xn--|[A-Z[:space:]]'"


def _note_spellings(connection: sa.Connection) -> None:
    """`respelled`: each address that has another spelling from now on, and that."""
    connection.execute(
        sa.text("CREATE TEMPORARY TABLE respelled (old text PRIMARY KEY, new text NOT NULL) ON COMMIT DROP")
    )
    found = connection.execute(
        sa.text(
            " UNION ".join(
                f"SELECT {column} FROM {table} WHERE {column} {_ODD}" for table, column in _ADDRESSES
            )
        )
    ).scalars()
    pairs = [{"old": old, "new": delivery_address(old)} for old in found.all()]
    if changed := [pair for pair in pairs if pair["new"] not in ("", pair["old"])]:
        connection.execute(sa.text("INSERT INTO respelled (old, new) VALUES (:old, :new)"), changed)
    connection.execute(sa.text("ANALYZE respelled"))


_RESPELL = (
    # Of those who would now be one, the first has the address.
    """
    UPDATE contacts t SET email = first.new FROM (
        SELECT DISTINCT ON (r.new) c.id, r.new FROM contacts c JOIN respelled r ON r.old = c.email
        WHERE c.deleted_at IS NULL
          AND NOT EXISTS (SELECT FROM contacts o WHERE o.email = r.new AND o.deleted_at IS NULL)
        ORDER BY r.new, c.created_at, c.id
    ) first WHERE t.id = first.id
    """,
    "UPDATE contacts t SET email = r.new FROM respelled r WHERE t.email = r.old AND t.deleted_at IS NOT NULL",
    """
    UPDATE contact_aliases t SET value = first.new FROM (
        SELECT DISTINCT ON (r.new) r.old, r.new FROM contact_aliases a JOIN respelled r ON r.old = a.value
        WHERE a.kind = 'email'
          AND NOT EXISTS (SELECT FROM contact_aliases o WHERE o.kind = 'email' AND o.value = r.new)
        ORDER BY r.new, r.old
    ) first WHERE t.kind = 'email' AND t.value = first.old
    """,
    "UPDATE contact_preferences t SET email = r.new FROM respelled r WHERE t.email = r.old",
    "UPDATE email_sends t SET to_email = r.new FROM respelled r WHERE t.to_email = r.old",
    """
    UPDATE suppressions t SET email = first.new FROM (
        SELECT DISTINCT ON (r.new, s.type) s.id, r.new FROM suppressions s JOIN respelled r ON r.old = s.email
        WHERE NOT EXISTS (SELECT FROM suppressions o WHERE o.email = r.new AND o.type = s.type)
        ORDER BY r.new, s.type, s.created_at
    ) first WHERE t.id = first.id
    """,
)


def _respell_addresses() -> None:
    """Spell addresses in the one way.

    Two contacts whose addresses are now one stay two, the second under its former spelling: a merge is a decision.
    """
    for statement in _RESPELL:
        op.execute(statement)


def _fill_ledger() -> None:
    """What stands against an address today, as it will be spelled.

    A contact that lives inherited what the deleted ones with its address had refused, so what it says is what holds.
    That went by the former spelling, and so does this: of another one it knew nothing.
    """
    op.execute("""
        INSERT INTO consent_ledger (address_hash, scope, allowed, source, evidence, at)
        WITH said AS (
            SELECT p.*, nullif(c.email, p.email) AS other
            FROM contact_preferences p JOIN contacts c ON c.id = p.contact_id
            WHERE c.deleted_at IS NULL OR NOT EXISTS (
                SELECT FROM contact_preferences q JOIN contacts d ON d.id = q.contact_id
                WHERE q.email = p.email AND d.email = q.email AND d.deleted_at IS NULL)
        ), refused AS (
            SELECT contact_id, email, other, 'all' AS scope, updated_at AS at FROM said WHERE unsubscribed_all
            UNION ALL
            SELECT contact_id, email, other, 'category:' || key, updated_at
            FROM said CROSS JOIN jsonb_each(categories) WHERE value = 'false'::jsonb
            UNION ALL
            SELECT contact_id, email, CASE email WHEN '' THEN other END, 'manual', coalesce(suppressed_at, updated_at)
            FROM said WHERE suppressed AND NOT EXISTS (SELECT FROM suppressions s WHERE s.email = said.email)
        ), standing AS (
            SELECT email, type AS scope, created_at AS at,
                   CASE WHEN email_id IS NULL THEN '{}'::jsonb ELSE jsonb_build_object('email_id', email_id) END AS evidence
            FROM suppressions
            UNION ALL
            -- Beside the address that it was said at, the one that the contact has now.
            SELECT DISTINCT address, scope, at, jsonb_build_object('contact_id', contact_id)
            FROM refused CROSS JOIN LATERAL (VALUES (email), (other)) AS of_theirs (address)
        )
        SELECT consent_hash(coalesce(new, email)), scope, false, 'before-the-ledger', evidence, at
        FROM standing LEFT JOIN respelled ON old = email WHERE email <> '' ORDER BY at, scope
    """)


def downgrade() -> None:
    raise NotImplementedError("going back would forget opt-outs")
