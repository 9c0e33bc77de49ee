"""Rules, the alerts that they fired, how each was told, and what was found broken in the books."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from hogsend.storage.metadata import instant, json, metadata, one_of, uuid

CHANNELS = ("slack", "webhook", "email")
CHANGES = ("fired", "resolved")
RESOLUTIONS = ("cleared", "rule_changed", "rule_disabled", "rule_deleted")
DELIVERY_STATUSES = ("pending", "delivered", "failed")
FINDINGS = (
    "event_without_decision",
    "event_decided_twice",
    "decision_without_send",
    "send_decided_twice",
    "send_without_end",
)

alert_rules = Table(
    "alert_rules",
    metadata,
    uuid("id", primary_key=True),
    Column("name", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("threshold", Float, nullable=False),
    Column("channel", Text, nullable=False),
    json("channel_config", nullable=False),
    Column("cooldown_minutes", Integer, nullable=False, server_default=text("60")),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    instant("last_triggered_at"),
    instant("created_at", nullable=False),
    instant("updated_at", nullable=False),
    instant("deleted_at"),
    Column("signing_secret", Text, nullable=False, comment="whsec_…: what its webhooks are signed with"),
    instant("muted_until", comment="real time"),
    uuid("firing_alert_id", comment="the alert that is not resolved yet"),
    Column(
        "clear_evaluations",
        Integer,
        nullable=False,
        server_default=text("0"),
        comment="in a row, while it fires",
    ),
    instant("evaluated_at", comment="real time"),
    instant("cooldown_from", comment="real time: when it last fired"),
    # The words of `type` are those of `alerts/rule_types.py`; the constraint on them is in the migrations alone.
    one_of("channel", CHANNELS),
    Index("ix_alert_rules_created", text("created_at DESC"), text("id DESC")),
)

alerts = Table(
    "alerts",
    metadata,
    uuid("id", primary_key=True),
    uuid("rule_id", nullable=False),
    Column("rule_name", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("current_value", Float, nullable=False),
    Column("threshold", Float, nullable=False),
    Column("channel", Text, nullable=False),
    Column("delivered", Boolean, nullable=False, server_default=text("false")),
    Column("error", Text),
    instant("triggered_at", nullable=False),
    instant("since", comment="where the window that was measured began"),
    instant("resolved_at"),
    Column("resolution", Text, comment="why it is over"),
    Column("resolved_value", Float),
    Column("held", Text, comment="what a mute keeps from being told"),
    one_of("resolution", RESOLUTIONS),
    one_of("held", CHANGES),
    Index("ix_alerts_triggered", text("triggered_at DESC"), text("id DESC")),
    Index("ix_alerts_rule", "rule_id", text("triggered_at DESC"), text("id DESC")),
    Index("uq_alerts_firing", "rule_id", unique=True, postgresql_where=text("resolved_at IS NULL")),
    Index("ix_alerts_held", "rule_id", postgresql_where=text("held IS NOT NULL")),
)

alert_deliveries = Table(
    "alert_deliveries",
    metadata,
    uuid("id", primary_key=True, comment="also the webhook-id, and the key of the email"),
    uuid("alert_id", ForeignKey("alerts.id", ondelete="CASCADE"), nullable=False),
    Column("change", Text, nullable=False),
    Column("channel", Text, nullable=False, comment="of the last attempt"),
    Column("status", Text, nullable=False, server_default=text("'pending'")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("response_status", Integer),
    Column("response_body", Text, comment="its first bytes"),
    Column("error", Text),
    instant("created_at", nullable=False),
    instant("attempted_at"),
    instant("delivered_at"),
    one_of("change", CHANGES),
    one_of("channel", CHANNELS),
    one_of("status", DELIVERY_STATUSES),
    UniqueConstraint("alert_id", "change"),
    Index("ix_alert_deliveries_alert", "alert_id", text("created_at DESC"), text("id DESC")),
    comment="One for each firing and each resolution that is told",
)

invariant_findings = Table(
    "invariant_findings",
    metadata,
    uuid("id", primary_key=True),
    Column("kind", Text, nullable=False),
    Column(
        "subject", Text, nullable=False, comment="what it was found of: one finding for each kind and subject"
    ),
    uuid("event_id"),
    uuid("decision_id"),
    uuid("email_id"),
    Column("journey_id", Text),
    instant("found_at", nullable=False),
    instant("settled_at", comment="when it was seen to hold again"),
    one_of("kind", FINDINGS),
    UniqueConstraint("kind", "subject"),
    Index("ix_invariant_findings_found", text("found_at DESC"), text("id DESC")),
)

invariant_progress = Table(
    "invariant_progress",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False, comment="1: there is one row, or none"),
    Column("checked_seq", BigInteger, nullable=False, comment="the activity log is checked up to here"),
    Column("noted_seq", BigInteger, nullable=False, comment="what the next pass checks up to"),
    instant("noted_at", nullable=False, comment="real time"),
)
