"""Enums about emails."""

from __future__ import annotations

from hogsend.graphql.enums import WireEnum, wire_enum


@wire_enum(
    "Status of an email: the furthest that it got. It only moves forward, in whatever order reports arrive."
)
class EmailStatus(WireEnum):
    QUEUED = "queued", "Waiting to be sent."
    RENDERED = "rendered", "Handed to the provider, whose answer is not in yet."
    SENT = "sent", "Accepted by the provider."
    DELIVERED = "delivered", "Delivered to the mailbox."
    OPENED = "opened", "Opened."
    CLICKED = "clicked", "A link in it was clicked."
    BOUNCED = "bounced", "Rejected by the mailbox."
    COMPLAINED = "complained", "Marked as spam by the recipient."
    FAILED = "failed", "Not sent, and not retried automatically."


@wire_enum("Type of a delivery event: what can happen to an email.", name="EmailEventType")
class EmailFact(WireEnum):
    QUEUED = "queued", "It was requested."
    SENT = "sent", "The provider accepted it."
    DELIVERY_DELAYED = "delivery_delayed", "The mailbox could not accept it yet."
    DELIVERED = "delivered", "It was delivered to the mailbox."
    OPENED = "opened", "It was opened."
    CLICKED = "clicked", "A link in it was clicked."
    BOUNCED = "bounced", "The mailbox rejected it."
    COMPLAINED = "complained", "The recipient marked it as spam."
    FAILED = "failed", "Sending was given up."


@wire_enum("Something that the recipient or the mailbox ever did with an email, whatever came later.")
class EmailEngagement(WireEnum):
    OPENED = "opened", "Ever opened."
    CLICKED = "clicked", "Ever clicked."
    BOUNCED = "bounced", "Ever bounced."
    COMPLAINED = "complained", "Ever marked as spam."


@wire_enum("Sort field of emails. Emails without a value come last.")
class EmailSort(WireEnum):
    CREATED_AT = "created_at", "When the email was requested."
    SENT_AT = "sent_at", "When the provider accepted it."
    OPENED_AT = "opened_at", "When it was first opened."
    CLICKED_AT = "clicked_at", "When a link in it was first clicked."


@wire_enum("Why an address is suppressed.")
class SuppressionType(WireEnum):
    BOUNCE = "bounce", "An email to it bounced permanently."
    COMPLAINT = "complaint", "Its owner marked an email as spam."
    MANUAL = "manual", "An operator suppressed it."
