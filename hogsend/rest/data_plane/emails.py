"""Emails of the data plane: send one from a template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic import Field
from starlette.requests import Request

from hogsend.access.idempotency import Answer, Claim, once
from hogsend.decisions.reasons import Reason
from hogsend.emails.sending.direct import SendStatus, send_in, send_status
from hogsend.emails.sending.request import EmailRequest
from hogsend.rest.body import json_object
from hogsend.rest.components import ID, enum_of, with_optional
from hogsend.rest.data_plane.route import DataRoute
from hogsend.rest.models import Body, Properties, parsed
from hogsend.runtime import Runtime


class EmailIn(Body):
    """One email from a template."""

    to: str | None = Field(None, description="An address; outranks the person's own")
    user_id: str | None = Field(None, description="The person's id in your product, or their contact's id")
    template: str = Field(description="The template's key")
    props: Properties | None = Field(None, description="What the template shows")
    subject: str | None = Field(None, description="Instead of the template's")
    from_: str | None = Field(None, alias="from", description="Instead of the setting's sender")
    reply_to: str | None = None
    category: str | None = Field(None, description="Instead of the template's; what people unsubscribe from")
    idempotency_key: str | None = Field(None, description="The same key is the same email")


async def send_email(runtime: Runtime, request: Request) -> Mapping[str, Any]:
    body = parsed(EmailIn, await json_object(request))
    email = EmailRequest(
        template=body.template,
        to=body.to,
        user_id=body.user_id,
        props=body.props or {},
        subject=body.subject,
        from_email=body.from_,
        reply_to=body.reply_to,
        category=body.category,
    )
    key = request.headers.get("idempotency-key") or body.idempotency_key

    async def effect(claim: Claim) -> Answer:
        async with runtime.database.transaction() as conn:
            prepared = await send_in(conn, runtime, email, key=key, reason=Reason.API_ASKED)
            answer: dict[str, Any] = {
                "emailSendId": str(prepared.email_id),
                "status": send_status(prepared).value,
            }
            if prepared.refusal is not None:
                answer["reason"] = prepared.refusal.value
            await claim.answer(conn, answer)
        return answer

    return await once(runtime, "POST /v1/emails", key, asdict(email), effect)


ROUTES = (
    DataRoute(
        "POST /v1/emails",
        "Send one email from a template",
        send_email,
        202,
        with_optional(
            {"emailSendId": ID, "status": enum_of(*(status.value for status in SendStatus))},
            {"reason": enum_of(*(reason.value for reason in Reason))},
        ),
        body=EmailIn,
        not_found="Contact not found",
    ),
)
