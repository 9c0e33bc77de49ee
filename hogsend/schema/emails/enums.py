"""What emails, and what becomes of them, are called on the wire."""

from __future__ import annotations

from enum import Enum

from hogsend.graphql.enums import described_enum


class EmailStatus(Enum):
    QUEUED = "queued"
    RENDERED = "rendered"
    SENT = "sent"
    DELIVERED = "delivered"
    OPENED = "opened"
    CLICKED = "clicked"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    FAILED = "failed"


described_enum(
    EmailStatus,
    "EmailStatus",
    "How far an email got. It only ever moves on, in whatever order the news arrive.",
    {
        EmailStatus.QUEUED: "It is to be sent.",
        EmailStatus.RENDERED: "It was handed to the provider, whose answer is not in yet.",
        EmailStatus.SENT: "The provider took it.",
        EmailStatus.DELIVERED: "It reached the mailbox.",
        EmailStatus.OPENED: "It was opened.",
        EmailStatus.CLICKED: "A link in it was clicked.",
        EmailStatus.BOUNCED: "The mailbox refused it.",
        EmailStatus.COMPLAINED: "Its reader marked it as spam.",
        EmailStatus.FAILED: "It was not sent, and will not be by itself.",
    },
)


class EmailFact(Enum):
    QUEUED = "queued"
    SENT = "sent"
    DELIVERY_DELAYED = "delivery_delayed"
    DELIVERED = "delivered"
    OPENED = "opened"
    CLICKED = "clicked"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    FAILED = "failed"


described_enum(
    EmailFact,
    "EmailEventType",
    "What can become of an email.",
    {
        EmailFact.QUEUED: "It was asked for.",
        EmailFact.SENT: "The provider took it.",
        EmailFact.DELIVERY_DELAYED: "The mailbox could not take it yet.",
        EmailFact.DELIVERED: "It reached the mailbox.",
        EmailFact.OPENED: "It was opened.",
        EmailFact.CLICKED: "A link in it was clicked.",
        EmailFact.BOUNCED: "The mailbox refused it.",
        EmailFact.COMPLAINED: "Its reader marked it as spam.",
        EmailFact.FAILED: "It was given up.",
    },
)


class EmailEngagement(Enum):
    OPENED = "opened"
    CLICKED = "clicked"
    BOUNCED = "bounced"
    COMPLAINED = "complained"


described_enum(
    EmailEngagement,
    "EmailEngagement",
    "What a reader or a mailbox did with an email, whatever came later.",
    {
        EmailEngagement.OPENED: "It was opened.",
        EmailEngagement.CLICKED: "A link in it was clicked.",
        EmailEngagement.BOUNCED: "It bounced.",
        EmailEngagement.COMPLAINED: "It was marked as spam.",
    },
)


class EmailSort(Enum):
    CREATED_AT = "created_at"
    SENT_AT = "sent_at"
    OPENED_AT = "opened_at"
    CLICKED_AT = "clicked_at"


described_enum(
    EmailSort,
    "EmailSort",
    "What emails are sorted by. Those to which it never happened come last.",
    {
        EmailSort.CREATED_AT: "When they were asked for.",
        EmailSort.SENT_AT: "When the provider took them.",
        EmailSort.OPENED_AT: "When they were first opened.",
        EmailSort.CLICKED_AT: "When a link in them was first clicked.",
    },
)


class SuppressionType(Enum):
    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    MANUAL = "manual"


described_enum(
    SuppressionType,
    "SuppressionType",
    "Why an address is not written to.",
    {
        SuppressionType.BOUNCE: "Email to it bounced for good.",
        SuppressionType.COMPLAINT: "Its reader marked an email as spam.",
        SuppressionType.MANUAL: "An operator said so.",
    },
)
