"""The first schema: people, events, journeys, the ledger, emails, access, engine, streams."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import UserDefinedType

revision: str = "0001"
down_revision: str | Sequence[str] | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


class Xid8(UserDefinedType[int]):
    def get_col_spec(self, **_: object) -> str:
        return "xid8"


# Whoever waits for a row of these tables LISTENs on `hogsend_<table>`: one NOTIFY a transaction, only a hint.
NOTIFIED = ("activity", "outbox", "jobs")

HINT = """
CREATE FUNCTION hogsend_hint() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('hogsend_' || TG_TABLE_NAME, '');
    RETURN NULL;
END $$
"""

# This month and the next three, so that no row of theirs is ever in the default; a cron makes the later ones.
FIRST_PARTITIONS = """
DO $$
DECLARE month timestamptz := date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
BEGIN
    FOR i IN 1..4 LOOP
        EXECUTE format('CREATE TABLE user_events_p%s PARTITION OF user_events FOR VALUES FROM (%L) TO (%L)',
            to_char(month AT TIME ZONE 'UTC', 'YYYYMM'), month, month + interval '1 month');
        month := month + interval '1 month';
    END LOOP;
END $$
"""


def _timescale_is_there() -> bool:
    query = "SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'"
    return op.get_bind().execute(sa.text(query)).scalar() is not None


def upgrade() -> None:
    timescale = _timescale_is_there()
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    if timescale:
        op.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    _create_tables(timescale)
    if timescale:
        op.execute(
            "SELECT create_hypertable('user_events', 'occurred_at', chunk_time_interval => INTERVAL '7 days')"
        )
    else:
        op.execute("CREATE TABLE user_events_default PARTITION OF user_events DEFAULT")
        op.execute(FIRST_PARTITIONS)
    op.execute(HINT)
    for table in NOTIFIED:
        op.execute(
            f"CREATE TRIGGER hint AFTER INSERT ON {table} FOR EACH STATEMENT EXECUTE FUNCTION hogsend_hint()"
        )


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"DROP TABLE IF EXISTS {table} CASCADE")
    op.execute("DROP FUNCTION hogsend_hint()")


TABLES = (
    "activity",
    "alert_rules",
    "alerts",
    "api_keys",
    "audit_logs",
    "clock",
    "contacts",
    "crons",
    "dead_letters",
    "decisions",
    "email_sends",
    "event_keys",
    "idempotency_keys",
    "import_jobs",
    "inbox_messages",
    "jobs",
    "journey_settings",
    "journey_versions",
    "outbox",
    "provider_events",
    "suppressions",
    "user_events",
    "contact_aliases",
    "contact_preferences",
    "email_events",
    "email_links",
    "import_batches",
    "import_errors",
    "journey_states",
    "journey_steps",
    "journey_waits",
)


def _create_tables(timescale: bool) -> None:
    op.create_table(
        "activity",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("txid", Xid8(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "kind",
            sa.Text(),
            nullable=False,
            comment="event, state, email, decision, dead_letter, audit, alert, import",
        ),
        sa.Column(
            "type",
            sa.Text(),
            nullable=False,
            comment="what happened to it: received, entered, queued, opened …",
        ),
        sa.Column("ref_id", sa.UUID(), nullable=False, comment="the row it speaks of"),
        sa.Column("contact_id", sa.UUID(), nullable=True),
        sa.Column("journey_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_activity")),
        comment="One append-only row for each thing that happened; ordered for streams by (txid, seq)",
    )
    op.create_index("ix_activity_contact_stream", "activity", ["contact_id", "txid", "seq"], unique=False)
    op.create_index("ix_activity_kind_stream", "activity", ["kind", "txid", "seq"], unique=False)
    op.create_index("ix_activity_ref", "activity", ["ref_id"], unique=False)
    op.create_index("ix_activity_stream", "activity", ["txid", "seq"], unique=False)
    op.create_index(
        "ix_activity_timeline",
        "activity",
        ["contact_id", sa.text("at DESC"), sa.text("seq DESC")],
        unique=False,
    )
    op.create_table(
        "alert_rules",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("threshold", sa.Float(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column(
            "channel_config", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("cooldown_minutes", sa.Integer(), server_default=sa.text("60"), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("last_triggered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("channel IN ('slack', 'webhook', 'email')", name=op.f("ck_alert_rules_channel")),
        sa.CheckConstraint(
            "type IN ('bounce_rate_exceeded', 'journey_failure_spike', 'delivery_issue', 'high_complaint_rate')",
            name=op.f("ck_alert_rules_type"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_rules")),
    )
    op.create_index(
        "ix_alert_rules_created",
        "alert_rules",
        [sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_table(
        "alerts",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("rule_id", sa.UUID(), nullable=False),
        sa.Column("rule_name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("current_value", sa.Float(), nullable=False),
        sa.Column("threshold", sa.Float(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("delivered", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("triggered_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
    )
    op.create_index(
        "ix_alerts_rule",
        "alerts",
        ["rule_id", sa.text("triggered_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_alerts_triggered", "alerts", [sa.text("triggered_at DESC"), sa.text("id DESC")], unique=False
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "key_hash", sa.Text(), nullable=False, comment="SHA-256 in hex; the key itself is not kept"
        ),
        sa.Column("key_prefix", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True, comment="real time"),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_keys_key_hash")),
    )
    op.create_index(
        "ix_api_keys_created", "api_keys", [sa.text("created_at DESC"), sa.text("id DESC")], unique=False
    )
    op.create_table(
        "audit_logs",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("actor_key_id", sa.UUID(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("resource_id", sa.Text(), nullable=True),
        sa.Column(
            "outcome",
            sa.Text(),
            server_default=sa.text("'ok'"),
            nullable=False,
            comment="ok, refused or failed",
        ),
        sa.Column("detail", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("before", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("after", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("ip_address", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_logs")),
    )
    op.create_index(
        "ix_audit_logs_action",
        "audit_logs",
        ["action", sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_audit_logs_actor",
        "audit_logs",
        ["actor", sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_audit_logs_created", "audit_logs", [sa.text("created_at DESC"), sa.text("id DESC")], unique=False
    )
    op.create_index(
        "ix_audit_logs_resource",
        "audit_logs",
        ["resource", sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_table(
        "clock",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("anchor_wall", sa.DateTime(timezone=True), nullable=False),
        sa.Column("anchor_product", sa.DateTime(timezone=True), nullable=False),
        sa.Column("speed", sa.Float(), nullable=False),
        sa.Column(
            "seen_product",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="the latest product time that a worker noted",
        ),
        sa.Column("noted_at", sa.DateTime(timezone=True), nullable=False, comment="real time"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clock")),
        comment="Where sped-up product time is anchored, so that every process agrees",
    )
    op.create_table(
        "contacts",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True, comment="trimmed and lower-cased"),
        sa.Column("anonymous_id", sa.Text(), nullable=True),
        sa.Column(
            "properties",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "merged_into", sa.UUID(), nullable=True, comment="the survivor; set together with deleted_at"
        ),
        sa.ForeignKeyConstraint(["merged_into"], ["contacts.id"], name=op.f("fk_contacts_merged_into")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contacts")),
    )
    op.create_index(
        "ix_contacts_created",
        "contacts",
        [sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_contacts_last_seen",
        "contacts",
        [sa.text("last_seen_at DESC"), sa.text("id DESC")],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index("ix_contacts_merged_into", "contacts", ["merged_into"], unique=False)
    op.create_index(
        "ix_contacts_search",
        "contacts",
        [sa.text("(coalesce(email, '') || ' ' || coalesce(external_id, '')) gin_trgm_ops")],
        unique=False,
        postgresql_using="gin",
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "uq_contacts_anonymous_id",
        "contacts",
        ["anonymous_id"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "uq_contacts_email",
        "contacts",
        ["email"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "uq_contacts_external_id",
        "contacts",
        ["external_id"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "crons",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("last_run_at", sa.DateTime(timezone=True), nullable=True, comment="real time"),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_crons")),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=True),
        sa.Column("payload", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("retry_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("retried_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("source IN ('email', 'journey', 'webhook')", name=op.f("ck_dead_letters_source")),
        sa.CheckConstraint(
            "status IN ('pending', 'retried', 'discarded')", name=op.f("ck_dead_letters_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letters")),
    )
    op.create_index(
        "ix_dead_letters_created",
        "dead_letters",
        [sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_dead_letters_status",
        "dead_letters",
        ["status", sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_index("uq_dead_letters_source", "dead_letters", ["source", "source_id"], unique=True)
    op.create_table(
        "decisions",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column(
            "detail",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("contact_id", sa.UUID(), nullable=True),
        sa.Column("journey_id", sa.Text(), nullable=True),
        sa.Column("state_id", sa.UUID(), nullable=True),
        sa.Column("event_id", sa.UUID(), nullable=True),
        sa.Column("email_id", sa.UUID(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
    )
    op.create_index("ix_decisions_at", "decisions", [sa.text("at DESC"), sa.text("id DESC")], unique=False)
    op.create_index(
        "ix_decisions_contact",
        "decisions",
        ["contact_id", sa.text("at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_index("ix_decisions_email", "decisions", ["email_id", "seq"], unique=False)
    op.create_index("ix_decisions_event", "decisions", ["event_id", "journey_id"], unique=False)
    op.create_index(
        "ix_decisions_journey",
        "decisions",
        ["journey_id", sa.text("at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_index("ix_decisions_state", "decisions", ["state_id", "seq"], unique=False)
    op.create_table(
        "email_sends",
        sa.Column("id", sa.UUID(), nullable=False, comment="also the provider's Idempotency-Key"),
        sa.Column("send_key", sa.Text(), nullable=False, comment="one send for each, whatever crashes"),
        sa.Column("contact_id", sa.UUID(), nullable=True),
        sa.Column("state_id", sa.UUID(), nullable=True),
        sa.Column("step_key", sa.Text(), nullable=True),
        sa.Column("journey_id", sa.Text(), nullable=True),
        sa.Column("event_id", sa.UUID(), nullable=True),
        sa.Column("template_key", sa.Text(), nullable=True),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("from_email", sa.Text(), nullable=False),
        sa.Column("to_email", sa.Text(), nullable=False),
        sa.Column("reply_to", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column(
            "props",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="what a resend renders again",
        ),
        sa.Column(
            "payload",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
            comment="the message, rendered once and frozen: retries send the same bytes",
        ),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("refusal", sa.Text(), nullable=True, comment="the reason for which nothing was sent"),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("outcome_unknown", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "first_attempt_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="real time: the provider's key lives from here",
        ),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True, comment="real time"),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True, comment="real time"),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=True, comment="the provider's id"),
        sa.Column("resend_of", sa.UUID(), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("clicked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("bounced_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("complained_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status IN ('queued', 'rendered', 'sent', 'delivered', 'opened', 'clicked', 'bounced', 'complained', 'failed')",
            name=op.f("ck_email_sends_status"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_email_sends")),
        sa.UniqueConstraint("send_key", name=op.f("uq_email_sends_send_key")),
    )
    op.create_index(
        "ix_email_sends_clicked",
        "email_sends",
        [sa.text("clicked_at DESC NULLS LAST"), sa.text("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_email_sends_contact",
        "email_sends",
        ["contact_id", sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_email_sends_created",
        "email_sends",
        [sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_email_sends_due",
        "email_sends",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('queued', 'rendered') AND state_id IS NULL"),
    )
    op.create_index("ix_email_sends_event", "email_sends", ["event_id"], unique=False)
    op.create_index(
        "ix_email_sends_journey",
        "email_sends",
        ["journey_id", sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_email_sends_leased",
        "email_sends",
        ["lease_owner"],
        unique=False,
        postgresql_where=sa.text("lease_owner IS NOT NULL"),
    )
    op.create_index("ix_email_sends_message", "email_sends", ["message_id"], unique=False)
    op.create_index(
        "ix_email_sends_opened",
        "email_sends",
        [sa.text("opened_at DESC NULLS LAST"), sa.text("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_email_sends_sent",
        "email_sends",
        [sa.text("sent_at DESC NULLS LAST"), sa.text("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_email_sends_state",
        "email_sends",
        ["state_id", sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_email_sends_status",
        "email_sends",
        ["status", sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_email_sends_template",
        "email_sends",
        ["template_key", sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_email_sends_to",
        "email_sends",
        ["to_email", sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_table(
        "event_keys",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("event_id", sa.UUID(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_event_keys")),
        comment="Idempotency keys of events: their own table, so that events can be partitioned by time",
    )
    op.create_index(op.f("ix_event_keys_created_at"), "event_keys", ["created_at"], unique=False)
    op.create_table(
        "idempotency_keys",
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("input_hash", sa.Text(), nullable=False),
        sa.Column(
            "answer",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
            comment="null while the first call is under way",
        ),
        sa.Column(
            "lease_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="real time: after it an unanswered key may be tried again",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("operation", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "import_jobs",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=True),
        sa.Column("total_rows", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("processed_rows", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed_rows", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True, comment="why the whole job failed"),
        sa.Column("actor", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("format IN ('csv', 'json')", name=op.f("ck_import_jobs_format")),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'completed', 'failed')", name=op.f("ck_import_jobs_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_jobs")),
    )
    op.create_index(
        "ix_import_jobs_created",
        "import_jobs",
        [sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_table(
        "inbox_messages",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("payload_hash", sa.Text(), nullable=False),
        sa.Column("to_email", sa.Text(), nullable=False),
        sa.Column("from_email", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("message", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbox_messages")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_inbox_messages_idempotency_key")),
        comment="What the development provider delivered: it stands for the outside world",
    )
    op.create_index(
        "ix_inbox_messages_received",
        "inbox_messages",
        [sa.text("received_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("dedupe_key", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("max_attempts", sa.Integer(), server_default=sa.text("8"), nullable=False),
        sa.Column("run_at", sa.DateTime(timezone=True), nullable=False, comment="real time"),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True, comment="real time"),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('pending', 'running', 'done', 'dead')", name=op.f("ck_jobs_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("dedupe_key", name=op.f("uq_jobs_dedupe_key")),
    )
    op.create_index(
        "ix_jobs_due",
        "jobs",
        ["run_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('pending', 'running')"),
    )
    op.create_index(
        "ix_jobs_leased",
        "jobs",
        ["lease_owner"],
        unique=False,
        postgresql_where=sa.text("lease_owner IS NOT NULL"),
    )
    op.create_table(
        "journey_settings",
        sa.Column("journey_id", sa.Text(), nullable=False),
        sa.Column(
            "enabled", sa.Boolean(), nullable=False, comment="an operator's override; outranks the code"
        ),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("journey_id", name=op.f("pk_journey_settings")),
    )
    op.create_table(
        "journey_versions",
        sa.Column("journey_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "checked_against",
            sa.Text(),
            nullable=True,
            comment="the version that runs of this one were replayed with, if they were",
        ),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("parked_runs", sa.Integer(), nullable=True, comment="how many there were then"),
        sa.Column("checked_runs", sa.Integer(), nullable=True, comment="how many of those were replayed"),
        sa.Column(
            "breaking_runs", sa.Integer(), nullable=True, comment="how many of those would have stopped"
        ),
        sa.Column("first_mismatch", sa.Text(), nullable=True, comment="what stopped the newest of them"),
        sa.Column("breaking_run_id", sa.UUID(), nullable=True, comment="that run"),
        sa.PrimaryKeyConstraint("journey_id", "version", name=op.f("pk_journey_versions")),
        comment="The code of journeys that was seen, and what a later one would do to the runs of each",
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("dedupe_key", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, comment="real time"),
        sa.Column(
            "available_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="real time; pushed back after a failure",
        ),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True, comment="real time"),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("dedupe_key", name=op.f("uq_outbox_dedupe_key")),
    )
    op.create_index(
        "ix_outbox_captures",
        "outbox",
        ["available_at", "id"],
        unique=False,
        postgresql_where=sa.text("published_at IS NULL AND topic = 'analytics.capture'"),
    )
    op.create_index(
        "ix_outbox_published",
        "outbox",
        ["published_at"],
        unique=False,
        postgresql_where=sa.text("published_at IS NOT NULL"),
    )
    op.create_index(
        "ix_outbox_unpublished",
        "outbox",
        ["available_at", "id"],
        unique=False,
        postgresql_where=sa.text("published_at IS NULL AND topic <> 'analytics.capture'"),
    )
    op.create_table(
        "provider_events",
        sa.Column(
            "id", sa.Text(), nullable=False, comment="the provider's event id: the key of deduplication"
        ),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=True),
        sa.Column("email_id", sa.UUID(), nullable=True),
        sa.Column("payload", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "processed_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="null while no send of ours has that message id yet",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_events")),
    )
    op.create_index(op.f("ix_provider_events_message_id"), "provider_events", ["message_id"], unique=False)
    op.create_index(
        "ix_provider_events_waiting",
        "provider_events",
        ["message_id"],
        unique=False,
        postgresql_where=sa.text("processed_at IS NULL"),
    )
    op.create_table(
        "suppressions",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("email_id", sa.UUID(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("type IN ('bounce', 'complaint', 'manual')", name=op.f("ck_suppressions_type")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suppressions")),
        sa.UniqueConstraint("email", "type", name=op.f("uq_suppressions_email_type")),
        comment="Addresses that are not written to, whoever holds them; a row is removed when it is lifted",
    )
    op.create_index(
        "ix_suppressions_created",
        "suppressions",
        [sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_table(
        "user_events",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column(
            "occurred_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="product time; partitions are cut on it",
        ),
        sa.Column(
            "seq",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="the order in which a subject's arrived",
        ),
        sa.Column("contact_id", sa.UUID(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "properties",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("source", sa.Text(), server_default=sa.text("'api'"), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", "occurred_at", name=op.f("pk_user_events")),
        comment="Partitioned by time on plain Postgres, a hypertable on TimescaleDB",
        postgresql_partition_by=None if timescale else "RANGE (occurred_at)",
    )
    op.create_index(
        "ix_user_events_contact",
        "user_events",
        ["contact_id", sa.text("occurred_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_index("ix_user_events_contact_name", "user_events", ["contact_id", "name", "seq"], unique=False)
    op.create_index("ix_user_events_contact_seq", "user_events", ["contact_id", "seq"], unique=False)
    op.create_index(
        "ix_user_events_name",
        "user_events",
        ["name", sa.text("occurred_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_user_events_occurred",
        "user_events",
        [sa.text("occurred_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_table(
        "contact_aliases",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("contact_id", sa.UUID(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('external_id', 'email', 'anonymous_id')", name=op.f("ck_contact_aliases_kind")
        ),
        sa.ForeignKeyConstraint(["contact_id"], ["contacts.id"], name=op.f("fk_contact_aliases_contact_id")),
        sa.PrimaryKeyConstraint("kind", "value", name=op.f("pk_contact_aliases")),
        comment="Keys a merge took from the contact that lost; they keep resolving to the survivor",
    )
    op.create_index(op.f("ix_contact_aliases_contact_id"), "contact_aliases", ["contact_id"], unique=False)
    op.create_table(
        "contact_preferences",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("contact_id", sa.UUID(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("unsubscribed_all", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("suppressed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("bounce_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "categories",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="{category: subscribed}",
        ),
        sa.Column("suppressed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_bounce_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["contact_id"], ["contacts.id"], name=op.f("fk_contact_preferences_contact_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact_preferences")),
        sa.UniqueConstraint("contact_id", name=op.f("uq_contact_preferences_contact_id")),
    )
    op.create_index("ix_contact_preferences_email", "contact_preferences", ["email"], unique=False)
    op.create_table(
        "email_events",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("email_id", sa.UUID(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("link_id", sa.UUID(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("ip_address", sa.Text(), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("provider_event_id", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "type IN ('queued', 'sent', 'delivery_delayed', 'delivered', 'opened', 'clicked', 'bounced', 'complained', 'failed')",
            name=op.f("ck_email_events_type"),
        ),
        sa.ForeignKeyConstraint(
            ["email_id"], ["email_sends.id"], name=op.f("fk_email_events_email_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_email_events")),
        sa.UniqueConstraint("provider_event_id", name=op.f("uq_email_events_provider_event_id")),
        comment="The ordered history of a send: facts, never updated",
    )
    op.create_index("ix_email_events_email", "email_events", ["email_id", "at", "id"], unique=False)
    op.create_index(
        "ix_email_events_link",
        "email_events",
        ["link_id", "at"],
        unique=False,
        postgresql_where=sa.text("link_id IS NOT NULL"),
    )
    op.create_table(
        "email_links",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("email_id", sa.UUID(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["email_id"], ["email_sends.id"], name=op.f("fk_email_links_email_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_email_links")),
    )
    op.create_index(op.f("ix_email_links_email_id"), "email_links", ["email_id"], unique=False)
    op.create_table(
        "import_batches",
        sa.Column("job_id", sa.UUID(), nullable=False),
        sa.Column("first_row", sa.Integer(), autoincrement=False, nullable=False, comment="counted from 1"),
        sa.Column("rows", sa.LargeBinary(), nullable=False, comment="a JSON array"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["import_jobs.id"], name=op.f("fk_import_batches_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "first_row", name=op.f("pk_import_batches")),
        comment="What is left of a file: one transaction takes one in and deletes it",
    )
    op.create_table(
        "import_errors",
        sa.Column("job_id", sa.UUID(), nullable=False),
        sa.Column("row", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["import_jobs.id"], name=op.f("fk_import_errors_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "row", name=op.f("pk_import_errors")),
    )
    op.create_table(
        "journey_states",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("journey_id", sa.Text(), nullable=False),
        sa.Column("contact_id", sa.UUID(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False, comment="the address at entry, for display"),
        sa.Column("status", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column(
            "version", sa.Text(), nullable=False, comment="hash of the definition that the run began with"
        ),
        sa.Column(
            "epoch",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="who holds an older one is fenced",
        ),
        sa.Column(
            "generation",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="of its driver in the engine",
        ),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True, comment="real time"),
        sa.Column(
            "wake_at", sa.DateTime(timezone=True), nullable=True, comment="product time at which it is due"
        ),
        sa.Column(
            "attempt",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="slices since the last progress",
        ),
        sa.Column(
            "cursor_seq",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="events up to here are past",
        ),
        sa.Column("current_node", sa.Text(), nullable=True),
        sa.Column(
            "input",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="the event and the person at entry, frozen",
        ),
        sa.Column(
            "context",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="the trigger event's properties",
        ),
        sa.Column("entry_key", sa.Text(), nullable=True, comment="holds `once` and `once per period`"),
        sa.Column("entry_count", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("trigger_event_id", sa.UUID(), nullable=True),
        sa.Column(
            "engine_run_id",
            sa.Text(),
            nullable=True,
            comment="the engine's own id, for display and cancelling",
        ),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("ended_reason", sa.Text(), nullable=True),
        sa.Column(
            "changed_seq",
            sa.Integer(),
            nullable=True,
            comment="the first recorded step that the code no longer fits, where it does not",
        ),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("exited_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'active', 'waiting', 'blocked', 'completed', 'exited', 'failed')",
            name=op.f("ck_journey_states_status"),
        ),
        sa.ForeignKeyConstraint(["contact_id"], ["contacts.id"], name=op.f("fk_journey_states_contact_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_journey_states")),
        sa.UniqueConstraint("entry_key", name=op.f("uq_journey_states_entry_key")),
    )
    op.create_index(
        "ix_journey_states_contact",
        "journey_states",
        ["contact_id", sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_journey_states_created",
        "journey_states",
        [sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_journey_states_due",
        "journey_states",
        ["wake_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('pending', 'active', 'waiting')"),
    )
    op.create_index(
        "ix_journey_states_journey",
        "journey_states",
        ["journey_id", sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_journey_states_journey_status",
        "journey_states",
        ["journey_id", "status", sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_journey_states_leased",
        "journey_states",
        ["lease_owner"],
        unique=False,
        postgresql_where=sa.text("lease_owner IS NOT NULL"),
    )
    op.create_index("ix_journey_states_trigger", "journey_states", ["trigger_event_id"], unique=False)
    op.create_index(
        "uq_journey_states_live",
        "journey_states",
        ["journey_id", "contact_id"],
        unique=True,
        postgresql_where=sa.text("status IN ('pending', 'active', 'waiting', 'blocked')"),
    )
    op.create_table(
        "journey_steps",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("state_id", sa.UUID(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False, comment="<kind>:<label>#<n>"),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column(
            "fingerprint", sa.Text(), nullable=False, comment="of the arguments; another one blocks the run"
        ),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column(
            "args",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("result", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("deadline", sa.DateTime(timezone=True), nullable=True),
        sa.Column("since_seq", sa.BigInteger(), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('open', 'done')", name=op.f("ck_journey_steps_status")),
        sa.ForeignKeyConstraint(
            ["state_id"], ["journey_states.id"], name=op.f("fk_journey_steps_state_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("state_id", "key", name=op.f("pk_journey_steps")),
        sa.UniqueConstraint("id", name=op.f("uq_journey_steps_id")),
        sa.UniqueConstraint("state_id", "seq", name=op.f("uq_journey_steps_state_id_seq")),
    )
    op.create_table(
        "journey_waits",
        sa.Column("state_id", sa.UUID(), nullable=False),
        sa.Column("step_key", sa.Text(), nullable=False),
        sa.Column("contact_id", sa.UUID(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column(
            "conditions",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
            comment="what the event's payload must satisfy",
        ),
        sa.Column("since_seq", sa.BigInteger(), nullable=False),
        sa.Column("deadline", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["state_id"], ["journey_states.id"], name=op.f("fk_journey_waits_state_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("state_id", name=op.f("pk_journey_waits")),
    )
    op.create_index("ix_journey_waits_contact_event", "journey_waits", ["contact_id", "event"], unique=False)
