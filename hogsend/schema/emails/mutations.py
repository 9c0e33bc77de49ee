"""Mutations of emails: send one, send one again, try a template out."""

from __future__ import annotations

from typing import Any, Self
from uuid import UUID

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry.scalars import JSON

from hogsend.access.audit import Action, Resource, audit
from hogsend.access.caller import Scope
from hogsend.access.idempotency import Claim
from hogsend.emails.sending.direct import request_of_test, resend_in, send_in
from hogsend.emails.sending.prepare import PreparedSend
from hogsend.emails.sending.request import EmailRequest
from hogsend.emails.templates.jinja import RenderError
from hogsend.errors import InvalidInput
from hogsend.graphql import ids
from hogsend.graphql.context import Context, Info
from hogsend.graphql.fields import attribute, optional
from hogsend.graphql.mutations import Answer, idempotency_key, mutation, named_by, named_by_id, part, payload
from hogsend.graphql.node import by_key
from hogsend.schema.decisions.enums import Reason
from hogsend.schema.emails.types import Email


@strawberry.input(description="What to send to whom. One of `to` and `userId` says to whom.")
class EmailSendInput:
    template: str = attribute("The template's key.")
    to: str | None = optional("An address.")
    user_id: str | None = optional("A contact's externalId or UUID.")
    props: JSON | None = optional("An object: what the template shows.")
    subject: str | None = optional("Instead of the template's.")
    from_email: str | None = optional("Instead of the usual sender.")
    reply_to: str | None = optional("Where answers go.")
    category: str | None = optional("Instead of the template's preference category.")
    idempotency_key: str | None = idempotency_key("send")

    def request(self) -> EmailRequest:
        props: Any = self.props or {}
        return EmailRequest(
            template=self.template,
            to=self.to,
            user_id=self.user_id,
            props=props,
            subject=self.subject,
            from_email=self.from_email,
            reply_to=self.reply_to,
            category=self.category,
        )


@strawberry.input(description="Which email to send again.")
class EmailResendInput:
    id: strawberry.ID = attribute("The id of the email that failed or bounced.")
    idempotency_key: str | None = idempotency_key("send")


@strawberry.input(description="A template to try out.")
class TemplateSendTestInput:
    template: str = attribute("The template's key.")
    to: str = attribute("Where the test goes.")
    props: JSON | None = optional("An object: what the template shows.")
    idempotency_key: str | None = idempotency_key("send")


@strawberry.type
class Sent:
    """What a send, a resend and a test answer alike."""

    email: Email | None = part("The send; `failed` with its `refusal` where it may not go out.")
    refusal: Reason | None = part("Why nothing is sent; null where something is.")

    @classmethod
    async def of(cls, context: Context, answer: Answer) -> Self:
        refusal = None if answer["refusal"] is None else Reason(answer["refusal"])
        return cls(email=await by_key(context, Email, UUID(answer["email"])), refusal=refusal)


@payload("What `emailSend` did.", errors="INVALID NOT_FOUND TEMPLATE_NOT_FOUND RENDERING_FAILED", keyed=True)
class EmailSendPayload(Sent):
    pass


@payload(
    "What `emailResend` did.",
    errors="INVALID NOT_FOUND TEMPLATE_NOT_FOUND RENDERING_FAILED NOT_RETRIABLE NO_TEMPLATE",
    keyed=True,
)
class EmailResendPayload(Sent):
    pass


@payload(
    "What `templateSendTest` did.",
    errors="INVALID NOT_FOUND TEMPLATE_NOT_FOUND RENDERING_FAILED",
    keyed=True,
)
class TemplateSendTestPayload(Sent):
    pass


@strawberry.type
class EmailMutation:
    @mutation(
        EmailSendPayload,
        scope=Scope.FULL_ADMIN,
        audits=(Action.CREATE, Resource.EMAIL, named_by("user_id", "to")),
        description="Send one email now. Suppression and preferences hold, as for every send.",
    )
    async def email_send(self, info: Info, input: EmailSendInput, claim: Claim) -> Answer:
        key = input.idempotency_key
        return await _send(info.context, input.request(), claim, f"emailSend:{key}" if key else None)

    @mutation(
        EmailResendPayload,
        scope=Scope.FULL_ADMIN,
        audits=(Action.RESEND, Resource.EMAIL, named_by_id(Email.prefix)),
        description="Render a failed or bounced email again and send it, as a new send. Two at once are one.",
    )
    async def email_resend(self, info: Info, input: EmailResendInput, claim: Claim) -> Answer:
        runtime = info.context.runtime
        email_id = ids.key_of(input.id, Email.prefix, "Email")
        async with runtime.database.transaction() as conn:
            try:
                prepared = await resend_in(conn, runtime, email_id)
            except RenderError as error:
                raise InvalidInput("id", error.message, code="RENDERING_FAILED") from None
            return await _answered(conn, claim, prepared, about=email_id)

    @mutation(
        TemplateSendTestPayload,
        scope=Scope.FULL_ADMIN,
        audits=(Action.CREATE, Resource.EMAIL, named_by("to")),
        description="Send a template to an address to see it there; the subject says that it is a test. What the "
        "address refused holds, an opt-out of everything also for a transactional template.",
    )
    async def template_send_test(self, info: Info, input: TemplateSendTestInput, claim: Claim) -> Answer:
        props: Any = input.props or {}
        request = request_of_test(info.context.runtime, input.template, input.to, props)
        key = input.idempotency_key
        return await _send(info.context, request, claim, f"templateSendTest:{key}" if key else None)


async def _send(context: Context, request: EmailRequest, claim: Claim, key: str | None) -> Answer:
    """The key is the send's too, which is kept for longer than the key's answer."""
    runtime = context.runtime
    async with runtime.database.transaction() as conn:
        prepared = await send_in(conn, runtime, request, key=key, reason=Reason.OPERATOR_ASKED)
        return await _answered(conn, claim, prepared, about=prepared.email_id)


async def _answered(conn: AsyncConnection, claim: Claim, prepared: PreparedSend, *, about: UUID) -> Answer:
    """Keep the answer and the audit row in the transaction of the effect."""
    refusal = None if prepared.refusal is None else prepared.refusal.value
    answer = {"email": str(prepared.email_id), "refusal": refusal}
    await audit(conn, resource_id=about, after=answer)
    await claim.answer(conn, answer)
    return answer
