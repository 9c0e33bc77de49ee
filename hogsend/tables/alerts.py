"""Rules, and the alerts that they fired."""

from sqlalchemy import Boolean, Column, Float, Index, Integer, Table, Text, text

from hogsend.storage.metadata import instant, json, metadata, one_of, uuid

CHANNELS = ("slack", "webhook", "email")

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
    Index("ix_alerts_triggered", text("triggered_at DESC"), text("id DESC")),
    Index("ix_alerts_rule", "rule_id", text("triggered_at DESC"), text("id DESC")),
)
