"""Webhooks: Resend about deliveries, PostHog about events. Each proves itself by its own secret."""

from __future__ import annotations

import binascii
import hmac
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import structlog
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hogsend.access.client_address import address_of
from hogsend.access.failed_attempts import FailedAttempts
from hogsend.emails.tracking.webhook_events import take_resend_event
from hogsend.errors import InvalidInput
from hogsend.events.event import NewEvent
from hogsend.ingestion.ingest import ingest
from hogsend.rest.body import bounded
from hogsend.rest.errors import JSONResponse, error_response
from hogsend.runtime import Runtime
from hogsend.validation import is_nobodys

log = structlog.get_logger(__name__)

REFUSED = "Webhook verification failed"
TOLERANCE = timedelta(minutes=5)
LONGEST_ID = 255


class Unverified(Exception):
    """The request is not from who it says. `why` is for the log, never for the sender."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


async def resend(request: Request) -> Response:
    """POST /v1/webhooks/email/resend: one delivery event, signed as Standard Webhooks."""
    runtime: Runtime = request.app.state.runtime
    body = await bounded(request)
    try:
        event_id = verify(runtime.settings.resend_webhook_secret, request.headers, body, runtime.clock.wall())
    except Unverified as error:
        log.warning("webhook_refused", provider="resend", why=error.why)
        return error_response(401, REFUSED)
    await take_resend_event(runtime, event_id, _object(body))
    return JSONResponse({"ok": True})


async def posthog(request: Request) -> Response:
    """POST /v1/webhooks/posthog: one product event, through the one pipeline."""
    runtime: Runtime = request.app.state.runtime
    secret = runtime.settings.posthog_webhook_secret
    given = request.headers.get("x-posthog-webhook-secret", "")
    if secret is None or not _same(given, secret.get_secret_value()):
        if secret is not None:
            attempts = runtime.part(FailedAttempts)
            await attempts.check(address_of(request))
            await attempts.note(address_of(request))
        log.warning(
            "webhook_refused", provider="posthog", why="wrong secret" if secret else "no secret is set"
        )
        return error_response(401, REFUSED)
    event = posthog_event(_object(await bounded(request)), runtime.settings.nobodys_ids)
    result = await ingest(runtime, event)
    exits = [
        {"journeyId": each.journey_id, "stateId": str(each.state_id), "exited": each.exited}
        for each in result.exits
    ]
    user_id = event.external_id or event.anonymous_id
    return JSONResponse({"ok": True, "event": event.name, "userId": user_id, "exits": exits})


def verify(secret: SecretStr | None, headers: Mapping[str, str], body: bytes, wall: datetime) -> str:
    """The id of a webhook whose signature holds and whose time is within five minutes. Raises `Unverified`."""
    if secret is None:
        raise Unverified("RESEND_WEBHOOK_SECRET is not set")
    event_id, sent_at, signatures = (
        headers.get(f"svix-{name}") or headers.get(f"webhook-{name}") or ""
        for name in ("id", "timestamp", "signature")
    )
    if not (event_id and signatures) or len(event_id) > LONGEST_ID:
        raise Unverified("a header is missing")
    # Eleven digits of seconds reach the year 5138; what is longer is no instant.
    if not (sent_at.isascii() and sent_at.isdigit() and len(sent_at) <= 11):
        raise Unverified("the timestamp is not one")
    instant = datetime.fromtimestamp(int(sent_at), UTC)
    if abs(wall - instant) > TOLERANCE:
        raise Unverified("the timestamp is too old or too new")
    try:
        expected = Webhook(secret.get_secret_value()).sign(event_id, instant, body.decode())
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Unverified(f"the secret or the body cannot be read: {type(error).__name__}") from None
    if not any(_same(signature, expected) for signature in signatures.split(" ")):
        raise Unverified("no signature matches")
    return event_id


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def posthog_event(body: Mapping[str, Any], refused: Collection[str]) -> NewEvent:
    """PostHog's words in ours. Raises `InvalidInput`.

    A `distinct_id` of someone whom PostHog has not identified is an anonymous id of ours. One that a broken client made
    of nothing is left out where the event has an address.
    """
    event = _part(body, "event", required=True)
    name, distinct_id = event.get("event"), event.get("distinct_id")
    if not isinstance(name, str) or not name:
        raise InvalidInput("event.event", "event.event must be a non-empty string")
    if not isinstance(distinct_id, str) or not distinct_id:
        raise InvalidInput("event.distinct_id", "event.distinct_id must be a non-empty string")
    properties = _part(event, "properties")
    email = _part(_part(body, "person"), "properties").get("email")
    email = email if isinstance(email, str) and email.strip() else None
    known = email is None or not is_nobodys(distinct_id, refused)
    identified = properties.get("$is_identified") is not False
    uuid = event.get("uuid")
    return NewEvent(
        name=name,
        external_id=distinct_id if known and identified else None,
        anonymous_id=distinct_id if known and not identified else None,
        email=email,
        properties=properties,
        occurred_at=_instant(event.get("timestamp")),
        idempotency_key=f"posthog:{uuid}" if isinstance(uuid, str) and uuid else None,
        source="posthog",
    )


def _part(body: Mapping[str, Any], name: str, *, required: bool = False) -> Mapping[str, Any]:
    part = body.get(name)
    if part is None and not required:
        return {}
    if not isinstance(part, Mapping):
        raise InvalidInput(name, f"{name} must be an object")
    return part


def _instant(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        instant = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        instant = None
    if instant is None:
        raise InvalidInput("event.timestamp", "event.timestamp must be an ISO 8601 instant")
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)


def _object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object, without the NUL characters that Postgres cannot hold. Raises `InvalidInput`."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise InvalidInput("body", "The body must be a JSON object")
    cleaned: dict[str, Any] = _without_nul(value) if b"\\u0000" in body else value
    return cleaned


def _without_nul(value: Any) -> Any:
    match value:
        case str():
            return value.replace("\x00", "")
        case dict():
            return {_without_nul(key): _without_nul(item) for key, item in value.items()}
        case list():
            return [_without_nul(item) for item in value]
    return value


routes = [
    Route("/v1/webhooks/email/resend", resend, methods=["POST"]),
    Route("/v1/webhooks/resend", resend, methods=["POST"]),
    Route("/v1/webhooks/posthog", posthog, methods=["POST"]),
]
