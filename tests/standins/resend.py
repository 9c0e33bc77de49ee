"""Resend, as far as Hogsend uses it: `POST /emails` with idempotency keys, and signed webhooks.

What it accepted is the oracle of every test about sending: `sent_to` and `by_key` count real emails.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
from standardwebhooks.webhooks import Webhook

from hogsend.clock import Clock
from tests.standins.http import Answer, Request, StandIn

API_KEY = "re_test_key"
WEBHOOK_SECRET = "whsec_aG9nc2VuZC10ZXN0cy1vbmx5LWEtc2VjcmV0"
KEY_LIFETIME = timedelta(hours=24)
RATE_LIMITED = "rate_limit_exceeded"


@dataclass(frozen=True)
class Accepted:
    """An email that Resend took and will send."""

    id: str
    key: str | None
    body: dict[str, Any]
    at: datetime

    @property
    def to(self) -> str:
        address: str = self.body["to"][0]
        return address


def error(status: int, name: str, message: str = "No", **headers: str) -> Answer:
    """An error as Resend words it."""
    spelled = {header.replace("_", "-").title(): value for header, value in headers.items()}
    return Answer(status, {"statusCode": status, "name": name, "message": message}, spelled)


def too_many(retry_after: int) -> Answer:
    return error(429, RATE_LIMITED, "Too many requests", retry_after=str(retry_after))


SERVER_ERROR = error(500, "application_error", "Something went wrong")


class ResendStandIn(StandIn):
    """Remembers a key for 24 hours of `clock`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.accepted: list[Accepted] = []
        self._clock = clock
        self._keys: dict[str, Accepted] = {}

    @property
    def sent_to(self) -> Counter[str]:
        return Counter(each.to for each in self.accepted)

    @property
    def by_key(self) -> Counter[str | None]:
        return Counter(each.key for each in self.accepted)

    async def answer(self, request: Request) -> Answer:
        if (request.method, request.path) != ("POST", "/emails"):
            return error(404, "not_found", "The requested endpoint does not exist")
        authorization = request.headers.get("authorization", "")
        if not authorization.startswith("Bearer "):
            return error(401, "missing_api_key", "Missing API key in the authorization header")
        if authorization != f"Bearer {API_KEY}":
            return error(403, "invalid_api_key", "API key is invalid")
        body = request.json()
        missing = [name for name in ("from", "to", "subject") if not body.get(name)]
        if missing:
            return error(422, "missing_required_field", f"Missing `{missing[0]}` field")
        return self._take(request.headers.get("idempotency-key"), body)

    def _take(self, key: str | None, body: dict[str, Any]) -> Answer:
        now = self._clock.wall()
        before = self._keys.get(key) if key is not None else None
        if before is not None and now - before.at < KEY_LIFETIME:
            if orjson.dumps(before.body) != orjson.dumps(body):
                return error(409, "invalid_idempotent_request", "Same key, different payload")
            return Answer(200, {"id": before.id})
        taken = Accepted(str(uuid4()), key, body, now)
        self.accepted.append(taken)
        if key is not None:
            self._keys[key] = taken
        return Answer(200, {"id": taken.id})


def webhook(
    type: str,
    *,
    message_id: str,
    at: datetime,
    tags: dict[str, str] | None = None,
    event_id: str | None = None,
    **data: Any,
) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of one delivery event, signed at `at`."""
    body = orjson.dumps(
        {
            "type": type,
            "created_at": at.astimezone(UTC).isoformat(),
            "data": {"email_id": message_id, "tags": tags or {}, **data},
        }
    )
    return body, signed(body, at=at, event_id=event_id or f"msg_{uuid4().hex}")


def signed(
    body: bytes, *, at: datetime, event_id: str = "msg_1", secret: str = WEBHOOK_SECRET
) -> dict[str, str]:
    """The headers that prove a body."""
    return {
        "content-type": "application/json",
        "svix-id": event_id,
        "svix-timestamp": str(int(at.timestamp())),
        "svix-signature": Webhook(secret).sign(event_id, at, body.decode()),
    }
