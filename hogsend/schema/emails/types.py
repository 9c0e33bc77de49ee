"""Emails in the schema, what became of them, and the addresses that are not written to."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import strawberry

from hogsend.access.caller import Scope
from hogsend.addresses import delivery_address
from hogsend.graphql.fields import attribute, optional, wire_type
from hogsend.graphql.ids import name_from
from hogsend.graphql.mapping import Filter
from hogsend.graphql.node import Node, bare_uuid
from hogsend.graphql.rows import Argument, by_id, in_code, rows, to_one, worked_out
from hogsend.schema.contacts.types import user_id_of_contact
from hogsend.schema.decisions.collections import DECISIONS
from hogsend.schema.decisions.enums import Reason
from hogsend.schema.emails.collections import CLICKS, EMAILS, HISTORY, LINKS, SUPPRESSIONS
from hogsend.schema.emails.enums import EmailEngagement, EmailFact, EmailSort, EmailStatus, SuppressionType
from hogsend.tables.decisions import decisions
from hogsend.tables.emails import email_events, email_links


@wire_type("A delivery event: one thing that happened to an email.")
class EmailEvent(Node, collection=HISTORY):
    type: EmailFact = attribute("What happened.")
    at: datetime = attribute("When it happened.")
    url: str | None = attribute("URL of a clicked link.")
    ip_address: str | None = attribute("IP address of an open or a click.")
    user_agent: str | None = attribute("User agent of an open or a click.")
    detail: str | None = attribute("What the provider reported, in its words.")
    count: int = attribute(
        "How many times: opens and clicks that the same reader repeats within 10 minutes are one event."
    )
    last_at: datetime | None = attribute("When it last happened; null where it happened once.")


@wire_type("A click on a link of an email.")
class EmailClick(Node, collection=CLICKS, columns={"clicked_at": "at"}):
    clicked_at: datetime = attribute("When the link was clicked.")
    ip_address: str | None = attribute("IP address of the click.")
    user_agent: str | None = attribute("User agent of the click.")
    count: int = attribute(
        "How many times: what the same reader repeats within 10 minutes is one click here."
    )
    last_at: datetime | None = attribute("When it was last clicked; null where it was clicked once.")

    uuid = bare_uuid()


@wire_type("A link of an email whose clicks are tracked.")
class EmailLink(Node, collection=LINKS, columns={"original_url": "url"}):
    position: int = attribute("Position among the email's links, from 0.")
    original_url: str = attribute("URL that it leads to.")

    uuid = bare_uuid()
    clicks = rows(
        CLICKS,
        email_events.c.link_id,
        description="Clicks on it, oldest first; `totalCount` is the number of clicks, repeats included.",
    )


@wire_type("An email to one person: sent, on its way, or withheld.")
class Email(Node, collection=EMAILS, columns={"resend_of_id": "resend_of"}):
    contact_id: strawberry.Private[UUID | None]
    state_id: strawberry.Private[UUID | None]
    event_id: strawberry.Private[UUID | None]
    resend_of_id: strawberry.Private[UUID | None]
    template_key: str | None = attribute("Key of its template; null for one without.")
    journey_id: str | None = attribute("Key of the journey that sent it.")
    message_id: str | None = attribute("Message id of the provider, once it accepted it.")
    provider: str | None = attribute("Provider that delivers it: `resend`, `smtp`, `inbox` …")
    from_email: str = attribute("Sender address.")
    to_email: str = attribute("Recipient address.")
    reply_to: str | None = attribute("Reply-To address.")
    subject: str = attribute("Subject line, as rendered.")
    category: str | None = attribute("Preference category that it belongs to.")
    status: EmailStatus = attribute("Status: the furthest that it got.")
    refusal: Reason | None = attribute("Why it was withheld; null where it was not.")
    error: str | None = attribute("Last error of the provider or the renderer.")
    outcome_unknown: bool = attribute(
        "Whether it is unknown if it was sent; its dead letter waits for an operator."
    )
    attempts: int = attribute("Number of times that it was handed to the provider.")
    sent_at: datetime | None = attribute("When the provider accepted it.")
    delivered_at: datetime | None = attribute("When it was first delivered to the mailbox.")
    opened_at: datetime | None = attribute("When it was first opened.")
    clicked_at: datetime | None = attribute("When a link in it was first clicked.")
    bounced_at: datetime | None = attribute("When it bounced.")
    complained_at: datetime | None = attribute("When the recipient marked it as spam.")
    created_at: datetime = attribute("When it was requested.")
    updated_at: datetime = attribute("When it last changed.")

    uuid = bare_uuid()

    journey_state_id = worked_out(
        UUID | None, "Bare UUID of the run that sent it.", "state_id", make=lambda key: key
    )

    user_id = user_id_of_contact()
    contact = to_one("contact", "contact_id", "The recipient; null where the contact was deleted.")
    state = to_one("state", "state_id", "The run that sent it; null where none did.")
    event = to_one("event", "event_id", "The event that caused it: the trigger of the run that sent it.")
    journey = in_code(
        "journey", "journey_id", "The journey that sent it; null where this deployment has it no more."
    )
    template = in_code(
        "template", "template_key", "Its template; null where it has none, or this deployment has it no more."
    )
    resend_of = to_one("email", "resend_of_id", "The email that it is a resend of.")
    history = rows(
        HISTORY,
        email_events.c.email_id,
        description="Its delivery events, oldest first.",
        arguments={"types": Argument(list[EmailFact] | None, "Only events of these types.")},
    )
    links = rows(LINKS, email_links.c.email_id, description="Its tracked links, by position.")
    decisions = rows(
        DECISIONS,
        decisions.c.email_id,
        ascending="recorded",
        description="Decisions about it, oldest first.",
    )


@wire_type("A suppressed address: it is not written to, whichever contact has it.")
class Suppression(Node, collection=SUPPRESSIONS, columns={"address": "email"}):
    email_id: strawberry.Private[UUID | None]
    address: str = attribute("The suppressed email address.")
    type: SuppressionType = attribute("Why it is suppressed.")
    detail: str | None = attribute("What the provider or the operator said about it.")
    created_at: datetime = attribute("When it was suppressed.")

    email = to_one("email", "email_id", "The email that bounced or was marked as spam.")


@strawberry.input(description="Filter of emails: all given fields must match.")
class EmailFilter(
    Filter,
    filters={
        "to_email": delivery_address,
        "journey_id": name_from("journey"),
    },
):
    to_email: str | None = optional("Only emails to this address, in any case.")
    template_key: str | None = optional("Only emails of this template.")
    category: str | None = optional("Only emails of this preference category.")
    status: EmailStatus | None = optional("Only emails with this status.")
    journey_id: strawberry.ID | None = optional("Only emails that this journey sent.")
    user_id: str | None = optional("Only emails to the contact with this externalId or UUID.")
    engagement: EmailEngagement | None = optional("Only emails to which this ever happened.")
    from_: datetime | None = optional("Only emails requested at or after this instant.", name="from")
    to: datetime | None = optional("Only emails requested at or before this instant.")


@strawberry.type
class EmailQuery:
    email = by_id(Email, "An email by id; null where there is none.")
    emails = rows(
        EMAILS,
        scope=Scope.READ,
        filter=EmailFilter,
        sorts=EmailSort,
        description="Emails: sent, on their way, or withheld.",
    )
    suppressions = rows(
        SUPPRESSIONS,
        scope=Scope.READ,
        description="Suppressed addresses, newest first.",
        arguments={
            "type": Argument(SuppressionType | None, "Only addresses that are suppressed for this reason.")
        },
    )
