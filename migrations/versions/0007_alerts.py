"""Alerts fire, resolve and are told; five more types of rule; what is found broken in the books."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | Sequence[str] | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

FIRST_TYPES = ("bounce_rate_exceeded", "journey_failure_spike", "delivery_issue", "high_complaint_rate")
NEW_TYPES = ("dlq_growth", "journey_silent", "engine_lag", "queue_lag", "invariant_broken")


def _hold_types(*words: str) -> None:
    listed = ", ".join(f"'{word}'" for word in words)
    op.drop_constraint(op.f("ck_alert_rules_type"), "alert_rules", type_="check")
    op.create_check_constraint(op.f("ck_alert_rules_type"), "alert_rules", f"type IN ({listed})")


def _instant(name: str, *, comment: str | None = None, nullable: bool = True) -> sa.Column[sa.DateTime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, comment=comment)


def upgrade() -> None:
    _hold_types(*FIRST_TYPES, *NEW_TYPES)
    _widen_rules()
    _widen_alerts()
    _create_deliveries()
    _create_findings()


def _widen_rules() -> None:
    secret = sa.Column("signing_secret", sa.Text(), comment="whsec_…: what its webhooks are signed with")
    op.add_column("alert_rules", secret)
    # Two random UUIDs are 244 bits that nobody can guess.
    op.execute(
        "UPDATE alert_rules SET signing_secret = 'whsec_' || encode(sha256(convert_to("
        "gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')), 'base64')"
    )
    op.alter_column("alert_rules", "signing_secret", nullable=False)
    op.add_column("alert_rules", _instant("muted_until", comment="real time"))
    firing = sa.Column("firing_alert_id", sa.UUID(), comment="the alert that is not resolved yet")
    op.add_column("alert_rules", firing)
    clear = sa.Column(
        "clear_evaluations",
        sa.Integer(),
        server_default=sa.text("0"),
        nullable=False,
        comment="in a row, while it fires",
    )
    op.add_column("alert_rules", clear)
    op.add_column("alert_rules", _instant("evaluated_at", comment="real time"))
    op.add_column("alert_rules", _instant("cooldown_from", comment="real time: when it last fired"))


def _widen_alerts() -> None:
    op.add_column("alerts", _instant("since", comment="where the window that was measured began"))
    op.add_column("alerts", _instant("resolved_at"))
    op.add_column("alerts", sa.Column("resolution", sa.Text(), comment="why it is over"))
    op.add_column("alerts", sa.Column("resolved_value", sa.Float()))
    op.add_column("alerts", sa.Column("held", sa.Text(), comment="what a mute keeps from being told"))
    op.create_check_constraint(
        op.f("ck_alerts_resolution"),
        "alerts",
        "resolution IN ('cleared', 'rule_changed', 'rule_disabled', 'rule_deleted')",
    )
    op.create_check_constraint(op.f("ck_alerts_held"), "alerts", "held IN ('fired', 'resolved')")
    # Nothing evaluated rules until now: what there is was put in by hand, and is over.
    op.execute("UPDATE alerts SET resolved_at = triggered_at")
    op.create_index(
        "uq_alerts_firing",
        "alerts",
        ["rule_id"],
        unique=True,
        postgresql_where=sa.text("resolved_at IS NULL"),
    )
    op.create_index("ix_alerts_held", "alerts", ["rule_id"], postgresql_where=sa.text("held IS NOT NULL"))


def _create_deliveries() -> None:
    op.create_table(
        "alert_deliveries",
        sa.Column("id", sa.UUID(), nullable=False, comment="also the webhook-id, and the key of the email"),
        sa.Column("alert_id", sa.UUID(), nullable=False),
        sa.Column("change", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False, comment="of the last attempt"),
        sa.Column("status", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("response_status", sa.Integer(), nullable=True),
        sa.Column("response_body", sa.Text(), nullable=True, comment="its first bytes"),
        sa.Column("error", sa.Text(), nullable=True),
        _instant("created_at", nullable=False),
        _instant("attempted_at"),
        _instant("delivered_at"),
        sa.CheckConstraint("change IN ('fired', 'resolved')", name=op.f("ck_alert_deliveries_change")),
        sa.CheckConstraint(
            "channel IN ('slack', 'webhook', 'email')", name=op.f("ck_alert_deliveries_channel")
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'delivered', 'failed')", name=op.f("ck_alert_deliveries_status")
        ),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["alerts.id"], name=op.f("fk_alert_deliveries_alert_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_deliveries")),
        sa.UniqueConstraint("alert_id", "change", name=op.f("uq_alert_deliveries_alert_id_change")),
        comment="One for each firing and each resolution that is told",
    )
    op.create_index(
        "ix_alert_deliveries_alert",
        "alert_deliveries",
        ["alert_id", sa.text("created_at DESC"), sa.text("id DESC")],
    )


def _create_findings() -> None:
    op.create_table(
        "invariant_findings",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column(
            "subject",
            sa.Text(),
            nullable=False,
            comment="what it was found of: one finding for each kind and subject",
        ),
        sa.Column("event_id", sa.UUID(), nullable=True),
        sa.Column("decision_id", sa.UUID(), nullable=True),
        sa.Column("email_id", sa.UUID(), nullable=True),
        sa.Column("journey_id", sa.Text(), nullable=True),
        _instant("found_at", nullable=False),
        _instant("settled_at", comment="when it was seen to hold again"),
        sa.CheckConstraint(
            "kind IN ('event_without_decision', 'event_decided_twice', 'decision_without_send',"
            " 'send_decided_twice', 'send_without_end')",
            name=op.f("ck_invariant_findings_kind"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invariant_findings")),
        sa.UniqueConstraint("kind", "subject", name=op.f("uq_invariant_findings_kind_subject")),
    )
    op.create_index(
        "ix_invariant_findings_found",
        "invariant_findings",
        [sa.text("found_at DESC"), sa.text("id DESC")],
    )
    op.create_table(
        "invariant_progress",
        sa.Column(
            "id",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="1: there is one row, or none",
        ),
        sa.Column(
            "checked_seq", sa.BigInteger(), nullable=False, comment="the activity log is checked up to here"
        ),
        sa.Column("noted_seq", sa.BigInteger(), nullable=False, comment="what the next pass checks up to"),
        _instant("noted_at", nullable=False, comment="real time"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invariant_progress")),
    )


def downgrade() -> None:
    op.drop_table("invariant_progress")
    op.drop_table("invariant_findings")
    op.drop_table("alert_deliveries")
    op.drop_index("ix_alerts_held", table_name="alerts")
    op.drop_index("uq_alerts_firing", table_name="alerts")
    for column in ("held", "resolved_value", "resolution", "resolved_at", "since"):
        op.drop_column("alerts", column)
    for column in (
        "cooldown_from",
        "evaluated_at",
        "clear_evaluations",
        "firing_alert_id",
        "muted_until",
        "signing_secret",
    ):
        op.drop_column("alert_rules", column)
    new = ", ".join(f"'{word}'" for word in NEW_TYPES)
    op.execute(f"DELETE FROM alert_rules WHERE type IN ({new})")
    _hold_types(*FIRST_TYPES)
