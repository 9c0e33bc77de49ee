"""Tables of sends, tracked links, delivery events, provider webhooks and suppressions, and the inbox of development."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, Table, Text, UniqueConstraint, text

from hogsend.storage.metadata import instant, json, metadata, one_of, uuid

STATUSES = (
    "queued",
    "rendered",
    "sent",
    "delivered",
    "opened",
    "clicked",
    "bounced",
    "complained",
    "failed",
)
UNDER_WAY = ("queued", "rendered")
"""Statuses of a send that its provider has not answered yet."""
FACTS = (
    "queued",
    "sent",
    "delivery_delayed",
    "delivered",
    "opened",
    "clicked",
    "bounced",
    "complained",
    "failed",
)

# When an email of which only that was heard must have been sent: the least ignores nulls.
FIRST_HEARD = "least(delivered_at, opened_at, clicked_at, bounced_at, complained_at)"

email_sends = Table(
    "email_sends",
    metadata,
    uuid("id", primary_key=True, comment="also the provider's Idempotency-Key"),
    Column("send_key", Text, nullable=False, unique=True, comment="one send for each, whatever crashes"),
    uuid("contact_id"),
    uuid("state_id"),
    Column("step_key", Text),
    Column("journey_id", Text),
    uuid("event_id"),
    Column("template_key", Text),
    Column("category", Text),
    Column("from_email", Text, nullable=False),
    Column("to_email", Text, nullable=False),
    Column("reply_to", Text),
    Column("subject", Text, nullable=False),
    json("props", nullable=False, server_default=text("'{}'::jsonb"), comment="what a resend renders again"),
    json("explicit", comment="what was asked for explicitly (to, subject …): a resend repeats it"),
    json("payload", comment="the message, rendered once and frozen: retries send the same bytes"),
    Column("status", Text, nullable=False),
    Column("refusal", Text, comment="the reason for which nothing was sent"),
    Column("error", Text),
    Column("outcome_unknown", Boolean, nullable=False, server_default=text("false")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    instant("first_attempt_at", comment="real time: the provider's key lives from here"),
    instant("next_attempt_at", comment="real time"),
    instant("lease_until", comment="real time"),
    Column("lease_owner", Text),
    Column("provider", Text),
    Column("message_id", Text, comment="the provider's id"),
    uuid("resend_of"),
    instant("sent_at"),
    instant("delivered_at"),
    instant("opened_at"),
    instant("clicked_at"),
    instant("bounced_at"),
    instant("complained_at"),
    instant("created_at", nullable=False),
    instant("updated_at", nullable=False),
    Column("request_hash", Text, comment="of what was asked under the send key: another request is an error"),
    one_of("status", STATUSES),
    Index("ix_email_sends_created", text("created_at DESC"), text("id DESC")),
    Index("ix_email_sends_contact", "contact_id", text("created_at DESC"), text("id DESC")),
    Index("ix_email_sends_to", "to_email", text("created_at DESC"), text("id DESC")),
    Index("ix_email_sends_journey", "journey_id", text("created_at DESC"), text("id DESC")),
    Index("ix_email_sends_template", "template_key", text("created_at DESC"), text("id DESC")),
    Index("ix_email_sends_status", "status", text("created_at DESC"), text("id DESC")),
    Index("ix_email_sends_sent", text("sent_at DESC NULLS LAST"), text("id DESC")),
    Index(
        "ix_email_sends_sent_late",
        text(FIRST_HEARD),
        postgresql_where=text(f"sent_at IS NULL AND {FIRST_HEARD} IS NOT NULL"),
    ),
    Index("ix_email_sends_opened", text("opened_at DESC NULLS LAST"), text("id DESC")),
    Index("ix_email_sends_clicked", text("clicked_at DESC NULLS LAST"), text("id DESC")),
    Index("ix_email_sends_state", "state_id", text("created_at DESC"), text("id DESC")),
    Index("ix_email_sends_event", "event_id"),
    Index("ix_email_sends_message", "message_id"),
    Index("ix_email_sends_leased", "lease_owner", postgresql_where=text("lease_owner IS NOT NULL")),
    Index(
        "ix_email_sends_due",
        "next_attempt_at",
        postgresql_where=text("status IN ('queued', 'rendered') AND state_id IS NULL"),
    ),
    Index("ix_email_sends_content", "created_at", postgresql_where=text("payload IS NOT NULL")),
)

email_links = Table(
    "email_links",
    metadata,
    uuid("id", primary_key=True),
    uuid("email_id", ForeignKey("email_sends.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("position", Integer, nullable=False),
    Column("url", Text, nullable=False),
)

email_events = Table(
    "email_events",
    metadata,
    uuid("id", primary_key=True),
    uuid("email_id", ForeignKey("email_sends.id", ondelete="CASCADE"), nullable=False),
    Column("type", Text, nullable=False),
    instant("at", nullable=False),
    uuid("link_id"),
    Column("url", Text),
    Column("ip_address", Text),
    Column("user_agent", Text),
    Column("detail", Text),
    Column("provider_event_id", Text, unique=True),
    Column(
        "count",
        Integer,
        nullable=False,
        server_default=text("1"),
        comment="itself and the repeats soon after",
    ),
    instant("last_at", comment="of the latest repeat"),
    one_of("type", FACTS),
    Index("ix_email_events_email", "email_id", "at", "id"),
    Index("ix_email_events_link", "link_id", "at", postgresql_where=text("link_id IS NOT NULL")),
    Index("ix_email_events_at", "at", postgresql_using="brin"),
    comment="The ordered history of a send: facts; a repeat soon after is counted on the row of the first",
)

provider_events = Table(
    "provider_events",
    metadata,
    Column("id", Text, primary_key=True, comment="the provider's event id: the key of deduplication"),
    Column("provider", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("message_id", Text, index=True),
    uuid("email_id"),
    json("payload", nullable=False),
    instant("received_at", nullable=False),
    instant("processed_at", comment="null while no send of ours has that message id yet"),
    Index("ix_provider_events_received", "received_at", postgresql_using="brin"),
    Index("ix_provider_events_waiting", "message_id", postgresql_where=text("processed_at IS NULL")),
)

suppressions = Table(
    "suppressions",
    metadata,
    uuid("id", primary_key=True),
    Column("email", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("detail", Text),
    uuid("email_id"),
    instant("created_at", nullable=False),
    UniqueConstraint("email", "type"),
    one_of("type", ("bounce", "complaint", "manual")),
    Index("ix_suppressions_created", text("created_at DESC"), text("id DESC")),
    comment="Addresses that are not written to, whoever holds them; a row is removed when it is lifted",
)

inbox_messages = Table(
    "inbox_messages",
    metadata,
    uuid("id", primary_key=True),
    Column("idempotency_key", Text, nullable=False, unique=True),
    Column("payload_hash", Text, nullable=False),
    Column("to_email", Text, nullable=False),
    Column("from_email", Text, nullable=False),
    Column("subject", Text, nullable=False),
    json("message", nullable=False),
    instant("received_at", nullable=False),
    Index("ix_inbox_messages_received", text("received_at DESC"), text("id DESC")),
    comment="What the development provider delivered: it stands for the outside world",
)
