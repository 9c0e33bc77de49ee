"""Requests to send: what a caller asks for, and the one send that it becomes. Values alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from hogsend.decisions.reasons import Reason


@dataclass(frozen=True)
class EmailRequest:
    """What a caller asks for. One of `to` and `user_id` (externalId or contact id) says to whom."""

    template: str
    to: str | None = None
    user_id: str | None = None
    props: Mapping[str, Any] = field(default_factory=dict)
    subject: str | None = None
    from_email: str | None = None
    reply_to: str | None = None
    category: str | None = None


@dataclass(frozen=True, kw_only=True)
class SendRequest(EmailRequest):
    """One intent to send, and what asked for it. `send_key` is unique for ever: the same key is the same send."""

    send_key: str
    reason: Reason
    journey_id: str | None = None
    state_id: UUID | None = None
    step_key: str | None = None
    event_id: UUID | None = None
    resend_of: UUID | None = None
    request_hash: str | None = None
