"""Mutations that are whole: intents, owners of claims, and what a key was used for."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_intents",
        sa.Column("id", sa.Uuid(), nullable=False, comment="of the audit row that it becomes"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("actor_key_id", sa.Uuid(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("resource_id", sa.Text(), nullable=True),
        sa.Column("detail", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("ip_address", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("lease_owner", sa.Text(), nullable=True, comment="the process; null where it died"),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True, comment="real time"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_intents")),
        comment="Mutations of several transactions that have begun; each row goes when its audit row is written",
    )
    op.create_index(
        "ix_audit_intents_leased",
        "audit_intents",
        ["lease_owner"],
        postgresql_where=sa.text("lease_owner IS NOT NULL"),
    )
    op.add_column(
        "idempotency_keys",
        sa.Column("lease_owner", sa.Text(), nullable=True, comment="the process that has the effect"),
    )
    op.add_column(
        "idempotency_keys",
        sa.Column(
            "claim",
            sa.Uuid(),
            nullable=True,
            comment="which of its calls: an answer of another one is not kept",
        ),
    )
    op.add_column(
        "email_sends",
        sa.Column(
            "request_hash",
            sa.Text(),
            nullable=True,
            comment="of what was asked under the send key: another request is an error",
        ),
    )
    op.add_column(
        "event_keys",
        sa.Column(
            "content_hash",
            sa.Text(),
            nullable=True,
            comment="of what an operator asked for: another input under the same key is an error",
        ),
    )
    op.add_column(
        "user_events",
        sa.Column(
            "depth",
            sa.SmallInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="how many events journeys triggered, one from the other, up to this one",
        ),
    )


def downgrade() -> None:
    op.drop_column("user_events", "depth")
    op.drop_column("event_keys", "content_hash")
    op.drop_column("email_sends", "request_hash")
    op.drop_column("idempotency_keys", "claim")
    op.drop_column("idempotency_keys", "lease_owner")
    op.drop_table("audit_intents")
