"""Email provider: Resend, through its own SDK. It remembers an idempotency key for 24 hours."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import resend
from resend.exceptions import NoContentError, ResendError

from hogsend.addresses import ascii_address, sender_header
from hogsend.clock import Clock
from hogsend.emails.providers.errors import OutcomeUnknown, ProviderError, ProviderRefused, TryLater
from hogsend.emails.providers.message import Message
from hogsend.settings import Settings, SettingsError

TIMEOUT = httpx.Timeout(20, connect=5, pool=20)
WHOLE_CALL = timedelta(seconds=60)

# Nothing of the request reached Resend when one of these was raised.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
# Ours to mend, and no fault of the message: it must not be lost for a key that was rotated.
_KEY_TROUBLE = frozenset({"missing_api_key", "invalid_api_key", "restricted_api_key"})


class _Transport(resend.AsyncHTTPClient):
    """One pool of connections for the SDK, whose own client makes a new one for each call."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        json: Any = None,
        files: dict[str, Any] | None = None,
        data: dict[str, str] | None = None,
    ) -> tuple[bytes, int, Mapping[str, str]]:
        response = await self._client.request(method, url, headers=headers, json=json, files=files, data=data)
        return response.content, response.status_code, response.headers


class ResendProvider:
    """Sends with `Idempotency-Key`; Resend remembers a key for 24 hours."""

    name = "resend"

    def __init__(
        self, *, api_key: str, api_url: str, clock: Clock, whole_call: timedelta = WHOLE_CALL
    ) -> None:
        self._api_key = api_key
        self._api_url = api_url.rstrip("/")
        self._clock = clock
        self._whole_call = whole_call
        self._client = httpx.AsyncClient(timeout=TIMEOUT)
        self._transport = _Transport(self._client)

    @classmethod
    def from_settings(cls, settings: Settings, clock: Clock) -> ResendProvider:
        if settings.resend_api_key is None:
            raise SettingsError(["RESEND_API_KEY: must be set where the provider is resend"])
        return cls(
            api_key=settings.resend_api_key.get_secret_value(), api_url=settings.resend_api_url, clock=clock
        )

    async def send(self, message: Message, *, idempotency_key: str) -> str:
        """Hand one message over; returns Resend's id for it. Raises as `EmailProvider.send` says."""
        try:
            async with asyncio.timeout(self._whole_call.total_seconds()):
                answer = await self._call(_params(message), idempotency_key)
        except TimeoutError:
            raise OutcomeUnknown("Resend did not answer in time") from None
        except NoContentError:
            raise OutcomeUnknown("Resend answered with an empty body") from None
        except ResendError as error:
            raise self._classify(error) from error
        message_id = answer.get("id") if isinstance(answer, Mapping) else None
        if not isinstance(message_id, str) or not message_id:
            raise OutcomeUnknown("Resend's answer has no id")
        return message_id

    async def _call(self, params: dict[str, Any], idempotency_key: str) -> object:
        # The SDK is configured by its module's globals. It reads them before its first await, so that two
        # providers in one process do not mix.
        resend.api_key = self._api_key
        resend.api_url = self._api_url
        resend.default_async_http_client = self._transport
        return await resend.Emails.send_async(
            params,  # type: ignore[arg-type]
            {"idempotency_key": idempotency_key},
        )

    def _classify(self, error: ResendError) -> ProviderError:
        cause = error.__context__
        if error.error_type == "HttpClientError":
            what = type(cause).__name__ if cause is not None else "unknown fault"
            if isinstance(cause, _NOT_SENT):
                return TryLater(f"Resend cannot be reached ({what})")
            return OutcomeUnknown(f"The connection to Resend was lost ({what})")
        status = int(error.code) if str(error.code).isdigit() else 500
        reason = f"Resend answered {status} {error.error_type}: {error.message}"[:500]
        if status == 429:
            return TryLater(reason, self._retry_after(error.headers))
        if error.error_type in _KEY_TROUBLE or status == 401:
            return TryLater(reason)
        if status in (408, 425) or status >= 500 or error.error_type == "concurrent_idempotent_requests":
            return OutcomeUnknown(reason)
        return ProviderRefused(reason)

    def _retry_after(self, headers: Mapping[str, str]) -> timedelta | None:
        """What `Retry-After` asks for, as seconds or as a date; None where it is missing or nonsense."""
        value = {name.lower(): text for name, text in headers.items()}.get("retry-after", "").strip()
        if value.isdigit():
            return timedelta(seconds=min(int(value), 86_400))
        try:
            until = parsedate_to_datetime(value)
        except ValueError:
            return None
        if until.tzinfo is None:
            return None
        return max(until - self._clock.wall(), timedelta(0))

    async def close(self) -> None:
        await self._client.aclose()


def _params(message: Message) -> dict[str, Any]:
    """The body of the request: the same bytes for the same message."""
    params: dict[str, Any] = {
        "from": sender_header(message.from_email),
        "to": [ascii_address(message.to)],
        "subject": message.subject,
        "html": message.html,
        "text": message.text,
        "headers": dict(sorted(message.headers.items())),
        "tags": [{"name": name, "value": value} for name, value in sorted(message.tags.items())],
    }
    if message.reply_to:
        params["reply_to"] = ascii_address(message.reply_to)
    return params
