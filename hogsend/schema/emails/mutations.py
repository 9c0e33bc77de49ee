"""Send an email, send one again, try a template out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from hogsend.access.audit import Action, Resource, audit
from hogsend.access.caller import Scope
from hogsend.access.idempotency import Claim, once
from hogsend.emails.sending.direct import EmailRequest, resend_in, send_in
from hogsend.emails.sending.prepare import Prepared
from hogsend.emails.templates.jinja import RenderError
from hogsend.errors import InvalidInput, NotFound
from hogsend.graphql import ids
from hogsend.graphql.context import Context, Info
from hogsend.graphql.fields import described
from hogsend.graphql.mutations import UserError, given, mutation
from hogsend.graphql.node import by_key
from hogsend.schema.decisions.enums import Reason
from hogsend.schema.emails.codes import EmailResendErrorCode, EmailSendErrorCode, TemplateSendTestErrorCode
from hogsend.schema.emails.types import Email

KEY = "The same key and input send once and give the first answer again."


@strawberry.input(description="What to send to whom. One of `to` and `userId` says to whom.")
class EmailSendInput:
    template: str = strawberry.field(description="The template's key.")
    to: str | None = strawberry.field(default=None, description="An address.")
    user_id: str | None = strawberry.field(default=None, description="A contact's externalId or UUID.")
    props: JSON | None = strawberry.field(default=None, description="An object: what the template shows.")
    subject: str | None = strawberry.field(default=None, description="Instead of the template's.")
    from_email: str | None = strawberry.field(default=None, description="Instead of the usual sender.")
    reply_to: str | None = strawberry.field(default=None, description="Where answers go.")
    category: str | None = strawberry.field(
        default=None, description="Instead of the template's preference category."
    )
    idempotency_key: str | None = strawberry.field(default=None, description=KEY)

    def wish(self) -> EmailRequest:
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
    id: strawberry.ID = strawberry.field(description="The id of the email that failed or bounced.")
    idempotency_key: str | None = strawberry.field(default=None, description=KEY)


@strawberry.input(description="A template to try out.")
class TemplateSendTestInput:
    template: str = strawberry.field(description="The template's key.")
    to: str = strawberry.field(description="Where the test goes.")
    props: JSON | None = strawberry.field(default=None, description="An object: what the template shows.")
    idempotency_key: str | None = strawberry.field(default=None, description=KEY)


@strawberry.type(description="What `emailSend` did.")
class EmailSendPayload:
    email: Email | None = strawberry.field(
        default=None, description="The send; `failed` with its `refusal` where it may not go out."
    )
    refusal: Reason | None = strawberry.field(
        default=None, description="Why nothing is sent; null where something is."
    )
    user_errors: list[UserError[EmailSendErrorCode]] = strawberry.field(
        default_factory=list, description="What is wrong with the input; empty where all is well."
    )


@strawberry.type(description="What `emailResend` did.")
class EmailResendPayload:
    email: Email | None = strawberry.field(
        default=None, description="The send; `failed` with its `refusal` where it may not go out."
    )
    refusal: Reason | None = strawberry.field(
        default=None, description="Why nothing is sent; null where something is."
    )
    user_errors: list[UserError[EmailResendErrorCode]] = strawberry.field(
        default_factory=list, description="What is wrong with the input; empty where all is well."
    )


@strawberry.type(description="What `templateSendTest` did.")
class TemplateSendTestPayload:
    email: Email | None = strawberry.field(
        default=None, description="The send; `failed` with its `refusal` where it may not go out."
    )
    refusal: Reason | None = strawberry.field(
        default=None, description="Why nothing is sent; null where something is."
    )
    user_errors: list[UserError[TemplateSendTestErrorCode]] = strawberry.field(
        default_factory=list, description="What is wrong with the input; empty where all is well."
    )


@strawberry.type
class EmailMutation:
    @mutation(
        scope=Scope.FULL_ADMIN,
        payload=EmailSendPayload,
        codes=EmailSendErrorCode,
        audit_action=(Action.CREATE, Resource.EMAIL),
        names=lambda given: given.user_id or given.to,
        description="Send one email now. Suppression and preferences hold, as for every send.",
    )
    async def email_send(
        self, info: Info, input: Annotated[EmailSendInput, described("What to whom.")]
    ) -> EmailSendPayload:
        answer = await _send(info.context, "emailSend", input.wish(), given(input), input.idempotency_key)
        return EmailSendPayload(**await _payload(info.context, answer))

    @mutation(
        scope=Scope.FULL_ADMIN,
        payload=EmailResendPayload,
        codes=EmailResendErrorCode,
        audit_action=(Action.RESEND, Resource.EMAIL),
        names=lambda given: given.id,
        description="Render a failed or bounced email again and send it, as a new send. Two at once are one.",
    )
    async def email_resend(
        self, info: Info, input: Annotated[EmailResendInput, described("Which one.")]
    ) -> EmailResendPayload:
        runtime = info.context.runtime
        email_id = ids.uuid_of(input.id, "email")
        if email_id is None:
            raise NotFound("Email")

        async def effect(claim: Claim | None) -> Mapping[str, Any]:
            async with runtime.database.transaction() as conn:
                try:
                    prepared = await resend_in(conn, runtime, email_id)
                except RenderError as error:
                    raise InvalidInput("id", error.message, code="RENDERING_FAILED") from None
                answer = _kept(prepared)
                await audit(conn, resource_id=email_id, after=answer)
                if claim is not None:
                    await claim.answer(conn, answer)
            return answer

        answer = await once(runtime, "emailResend", input.idempotency_key, given(input), effect)
        return EmailResendPayload(**await _payload(info.context, answer))

    @mutation(
        scope=Scope.FULL_ADMIN,
        payload=TemplateSendTestPayload,
        codes=TemplateSendTestErrorCode,
        audit_action=(Action.CREATE, Resource.EMAIL),
        names=lambda given: given.to,
        description="Send a template to an address to see it there; the subject says that it is a test.",
    )
    async def template_send_test(
        self, info: Info, input: Annotated[TemplateSendTestInput, described("Which template, where to.")]
    ) -> TemplateSendTestPayload:
        template = info.context.runtime.templates.get(input.template)
        props: Any = input.props or {}
        wish = EmailRequest(
            template=input.template,
            to=input.to,
            props=props,
            subject=f"[Test] {template.name}",
            category="transactional",
        )
        key = input.idempotency_key
        answer = await _send(info.context, "templateSendTest", wish, given(input), key)
        return TemplateSendTestPayload(**await _payload(info.context, answer))


async def _send(
    context: Context, operation: str, wish: EmailRequest, input: Mapping[str, Any], key: str | None
) -> Mapping[str, Any]:
    runtime = context.runtime

    async def effect(claim: Claim | None) -> Mapping[str, Any]:
        async with runtime.database.transaction() as conn:
            try:
                prepared = await send_in(conn, runtime, wish, key=None, reason=Reason.OPERATOR_ASKED)
            except RenderError as error:
                raise InvalidInput("props", error.message, code="RENDERING_FAILED") from None
            answer = _kept(prepared)
            await audit(conn, resource_id=prepared.email_id, after=answer)
            if claim is not None:
                await claim.answer(conn, answer)
        return answer

    return await once(runtime, operation, key, input, effect)


def _kept(prepared: Prepared) -> dict[str, Any]:
    refusal = None if prepared.refusal is None else prepared.refusal.value
    return {"email": str(prepared.email_id), "refusal": refusal}


async def _payload(context: Context, answer: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "email": await by_key(context, Email, UUID(answer["email"])),
        "refusal": None if answer["refusal"] is None else Reason(answer["refusal"]),
    }
