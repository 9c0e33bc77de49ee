"""Emails on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar
from uuid import UUID

import strawberry

from hogsend.access.caller import Scope
from hogsend.graphql import ids
from hogsend.graphql.connections import connection
from hogsend.graphql.context import Info
from hogsend.graphql.fields import described, field, query
from hogsend.graphql.node import Columns, Node, bare_uuid, link
from hogsend.graphql.sorting import SortOrder
from hogsend.schema.contacts.types import user_id as user_id_of
from hogsend.schema.decisions.collections import DECISIONS
from hogsend.schema.decisions.enums import Reason
from hogsend.schema.emails.collections import CLICKS, EMAILS, HISTORY, LINKS, SUPPRESSIONS
from hogsend.schema.emails.enums import EmailEngagement, EmailFact, EmailSort, EmailStatus, SuppressionType
from hogsend.schema.emails.templates import EmailTemplate
from hogsend.schema.refs import ContactRef, EventRef, JourneyRef, StateRef, journey_named
from hogsend.storage.collections import Selection
from hogsend.tables.decisions import decisions
from hogsend.tables.emails import email_events, email_links


@strawberry.type(description="One thing that became of an email.")
class EmailEvent(Node):
    prefix: ClassVar[str] = "activity"
    collection = HISTORY
    columns: ClassVar[Columns] = {"type": EmailFact}

    type: EmailFact = strawberry.field(description="What became of it.")
    at: datetime = strawberry.field(description="When.")
    url: str | None = strawberry.field(description="Where a click led.")
    ip_address: str | None = strawberry.field(description="Where an open or a click came from.")
    user_agent: str | None = strawberry.field(description="What an open or a click was made with.")
    detail: str | None = strawberry.field(description="What the provider said about it.")


@strawberry.type(description="One click on a link of an email.")
class EmailClick(Node):
    prefix: ClassVar[str] = "click"
    collection = CLICKS
    columns: ClassVar[Columns] = {"clicked_at": "at"}

    clicked_at: datetime = strawberry.field(description="When.")
    ip_address: str | None = strawberry.field(description="Where it came from.")
    user_agent: str | None = strawberry.field(description="What it was made with.")

    uuid = bare_uuid()


@strawberry.type(description="A link of an email whose clicks are counted.")
class EmailLink(Node):
    prefix: ClassVar[str] = "link"
    collection = LINKS
    columns: ClassVar[Columns] = {"original_url": "url"}

    position: int = strawberry.field(description="Its place among the email's links, from 0.")
    original_url: str = strawberry.field(description="Where it leads.")

    uuid = bare_uuid()

    @connection("click", description="The clicks on it, oldest first; `totalCount` says how many.")
    def clicks(self) -> Selection:
        return CLICKS.under(email_events.c.link_id, self.key)


@strawberry.type(description="An email to one person: sent, on its way, or kept back.")
class Email(Node):
    prefix: ClassVar[str] = "email"
    collection = EMAILS
    columns: ClassVar[Columns] = {"resend_of_id": "resend_of", "status": EmailStatus, "refusal": Reason}

    contact_id: strawberry.Private[UUID | None]
    state_id: strawberry.Private[UUID | None]
    event_id: strawberry.Private[UUID | None]
    resend_of_id: strawberry.Private[UUID | None]
    template_key: str | None = strawberry.field(description="The key of its template; null for one without.")
    journey_id: str | None = strawberry.field(description="The author's id of the journey that sent it.")
    message_id: str | None = strawberry.field(description="The provider's id, once it took the email.")
    provider: str | None = strawberry.field(description="Who delivers it: `resend`, `smtp`, `inbox` …")
    from_email: str = strawberry.field(description="From whom.")
    to_email: str = strawberry.field(description="To whom.")
    reply_to: str | None = strawberry.field(description="Where answers go.")
    subject: str = strawberry.field(description="The subject line, as it was rendered.")
    category: str | None = strawberry.field(description="The preference category that it belongs to.")
    status: EmailStatus = strawberry.field(description="The furthest that it got.")
    refusal: Reason | None = strawberry.field(description="Why it was kept back; null where it was not.")
    error: str | None = strawberry.field(description="What the provider or the renderer last said.")
    outcome_unknown: bool = strawberry.field(
        description="Nobody knows whether it was sent: see its dead letter."
    )
    attempts: int = strawberry.field(description="How often it was handed to the provider.")
    sent_at: datetime | None = strawberry.field(description="When the provider took it.")
    delivered_at: datetime | None = strawberry.field(description="When it first reached the mailbox.")
    opened_at: datetime | None = strawberry.field(description="When it was first opened.")
    clicked_at: datetime | None = strawberry.field(description="When a link in it was first clicked.")
    bounced_at: datetime | None = strawberry.field(description="When it bounced.")
    complained_at: datetime | None = strawberry.field(description="When its reader marked it as spam.")
    created_at: datetime = strawberry.field(description="When it was asked for.")
    updated_at: datetime = strawberry.field(description="When something last became of it.")

    uuid = bare_uuid()

    @field("The UUID of the run that sent it.")
    def journey_state_id(self) -> UUID | None:
        return self.state_id

    @field("The contact's externalId, or its UUID where it has none.")
    async def user_id(self, info: Info) -> str | None:
        return await user_id_of(info.context, self.contact_id)

    @field("To whom; null where the contact was deleted.")
    async def contact(self, info: Info) -> ContactRef | None:
        return await link(info.context, "contact", self.contact_id)  # type: ignore[no-any-return]

    @field("The run that sent it; null where none did.")
    async def state(self, info: Info) -> StateRef | None:
        return await link(info.context, "state", self.state_id)  # type: ignore[no-any-return]

    @field("The event that caused it: the trigger of the run that sent it.")
    async def event(self, info: Info) -> EventRef | None:
        return await link(info.context, "event", self.event_id)  # type: ignore[no-any-return]

    @field("The journey that sent it; null where this deployment has it no more.")
    def journey(self, info: Info) -> JourneyRef | None:
        return journey_named(info.context, self.journey_id)

    @field("Its template; null where it has none, or there is no such template any more.")
    def template(self, info: Info) -> EmailTemplate | None:
        return EmailTemplate.named(info.context, self.template_key)

    @field("The email that it was sent again for.")
    async def resend_of(self, info: Info) -> Email | None:
        return await link(info.context, "email", self.resend_of_id)  # type: ignore[no-any-return]

    @connection("activity", description="What became of it, oldest first.")
    def history(self, types: Annotated[list[EmailFact] | None, described("Only these.")] = None) -> Selection:
        wanted = None if types is None else [one.value for one in types]
        return HISTORY.under(email_events.c.email_id, self.key).filtered(types=wanted)

    @connection("link", description="Its links, in their order.")
    def links(self) -> Selection:
        return LINKS.under(email_links.c.email_id, self.key)

    @connection("decision", description="The verdicts about it, oldest first.")
    def decisions(self) -> Selection:
        return DECISIONS.under(decisions.c.email_id, self.key).sorted("recorded", descending=False)


@strawberry.type(description="An address that is not written to, whoever holds it.")
class Suppression(Node):
    prefix: ClassVar[str] = "suppression"
    collection = SUPPRESSIONS
    columns: ClassVar[Columns] = {"address": "email", "type": SuppressionType}

    email_id: strawberry.Private[UUID | None]
    address: str = strawberry.field(description="The address.")
    type: SuppressionType = strawberry.field(description="Why it is not written to.")
    detail: str | None = strawberry.field(description="What was said about it.")
    created_at: datetime = strawberry.field(description="Since when.")

    @field("The email that bounced or was complained about.")
    async def email(self, info: Info) -> Email | None:
        return await link(info.context, "email", self.email_id)  # type: ignore[no-any-return]


@strawberry.input(description="Which emails.")
class EmailFilter:
    to_email: str | None = strawberry.field(default=None, description="To this address, in any case.")
    template_key: str | None = strawberry.field(default=None, description="Of this template.")
    category: str | None = strawberry.field(default=None, description="Of this category.")
    status: EmailStatus | None = strawberry.field(
        default=None, description="That got this far and no further."
    )
    journey_id: strawberry.ID | None = strawberry.field(default=None, description="Sent by this journey.")
    user_id: str | None = strawberry.field(
        default=None, description="To the contact with this externalId or UUID."
    )
    engagement: EmailEngagement | None = strawberry.field(
        default=None, description="To which this ever happened."
    )
    from_: datetime | None = strawberry.field(
        default=None, name="from", description="Asked for then or later."
    )
    to: datetime | None = strawberry.field(default=None, description="Asked for then or earlier.")

    def narrow(self, selection: Selection) -> Selection:
        return selection.filtered(
            to_email=None if self.to_email is None else self.to_email.strip().lower(),
            template_key=self.template_key,
            category=self.category,
            status=None if self.status is None else self.status.value,
            journey_id=None if self.journey_id is None else ids.name_of(self.journey_id, "journey"),
            user_id=self.user_id,
            engagement=None if self.engagement is None else self.engagement.value,
            from_=self.from_,
            to=self.to,
        )


@strawberry.type
class EmailQuery:
    @query(description="One email; null where there is none.")
    async def email(
        self, info: Info, id: Annotated[strawberry.ID, described("Its id, or its bare UUID.")]
    ) -> Email | None:
        return await Email.fetch(info.context, id)  # type: ignore[return-value]

    @connection("email", scope=Scope.READ, description="Emails: sent, on their way, or kept back.")
    def emails(
        self,
        filter: Annotated[EmailFilter | None, described("Which emails; all unless told.")] = None,
        sort: Annotated[EmailSort, described("What they are sorted by.")] = EmailSort.CREATED_AT,
        order: Annotated[SortOrder, described("Which way.")] = SortOrder.DESC,
    ) -> Selection:
        found = (filter or EmailFilter()).narrow(EMAILS.all())
        return found.sorted(sort.value, descending=order is SortOrder.DESC)

    @connection(
        "suppression", scope=Scope.READ, description="Addresses that are not written to, newest first."
    )
    def suppressions(
        self, type: Annotated[SuppressionType | None, described("Only those for this reason.")] = None
    ) -> Selection:
        return SUPPRESSIONS.all().filtered(type=None if type is None else type.value)
