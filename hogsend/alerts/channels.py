"""Alert channels: a notice is posted to Slack or a webhook, or sent by email, once and within seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from html import escape
from ipaddress import IPv6Address
from typing import Any
from uuid import UUID

import httpx

from hogsend.alerts import ssrf
from hogsend.alerts.channel_config import TARGETS
from hogsend.alerts.rule_types import RULE_TYPES, AlertRuleType
from hogsend.consent.suppression import TRANSACTIONAL, refusal
from hogsend.emails.providers import Message, ProviderError
from hogsend.runtime import Runtime

TIMEOUT = httpx.Timeout(10.0, connect=5.0)
LONGEST_SECONDS = 20.0


class DeliveryFailed(Exception):
    """The channel did not take it. `reason` is a sentence for operators; it quotes no URL."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Notice:
    """What is told. `current_value` is None where there was nothing to measure; `at` is product time.

    `id` names this telling: an email provider takes the same one once.
    """

    id: UUID
    rule_id: UUID
    rule_name: str
    type: str
    current_value: float | None
    threshold: float
    at: datetime
    test: bool = False

    @property
    def headline(self) -> str:
        return " ".join(f"{'Test of' if self.test else 'Alert'}: {self.rule_name}".split())

    @property
    def sentence(self) -> str:
        if self.current_value is None:
            return "There is nothing to measure yet."
        return RULE_TYPES[AlertRuleType(self.type)].sentence(self.current_value, self.threshold)

    def to_json(self) -> dict[str, Any]:
        """The body of a webhook."""
        return {
            "id": str(self.id),
            "ruleId": str(self.rule_id),
            "ruleName": self.rule_name,
            "type": self.type,
            "currentValue": self.current_value,
            "threshold": self.threshold,
            "triggeredAt": self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "test": self.test,
            "message": self.sentence,
        }


async def tell(
    runtime: Runtime,
    channel: str,
    config: Mapping[str, Any],
    notice: Notice,
    *,
    resolve: ssrf.Resolve = ssrf.resolve,
) -> None:
    """Bring `notice` to the channel, once, in at most some seconds. Raises `DeliveryFailed`. Hold no transaction."""
    if channel == "email":
        await _email(runtime, config["to"], notice)
        return
    body = _slack_body(config, notice) if channel == "slack" else notice.to_json()
    await _post(runtime, config[TARGETS[channel]], body, resolve)


def _slack_body(config: Mapping[str, Any], notice: Notice) -> dict[str, Any]:
    text = f"*{_plain(notice.headline)}*\n{_plain(notice.sentence)}"
    return {"text": text} | ({"channel": config["channel"]} if "channel" in config else {})


def _plain(text: str) -> str:
    """Slack's three control characters, so that a rule's name mentions and links nobody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


async def _post(runtime: Runtime, target: str, body: Mapping[str, Any], resolve: ssrf.Resolve) -> None:
    try:
        allowed = await ssrf.verdict(target, ssrf.Policy.of(runtime.settings), resolve=resolve)
    except ssrf.Forbidden as error:
        raise DeliveryFailed(f"The URL {error.reason}") from None
    except ssrf.Unresolved:
        raise DeliveryFailed("The URL's host was not found") from None
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            status = await _status(allowed, body)
    except TimeoutError:
        raise DeliveryFailed(f"The receiver did not answer within {LONGEST_SECONDS:g} seconds") from None
    except httpx.HTTPError as error:
        raise DeliveryFailed(f"The request failed: {type(error).__name__}") from None
    if not 200 <= status < 300:
        raise DeliveryFailed(f"The receiver answered {status}")


async def _status(target: ssrf.Target, body: Mapping[str, Any]) -> int:
    """Post to the first of the target's addresses that can be connected to; its answer's body is not read."""
    # No redirects and no proxy: either would connect to an address that nobody checked.
    async with httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False, trust_env=False) as client:
        for address in target.addresses:
            request = _pinned(client, target.url, address, body)
            try:
                response = await client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
            await response.aclose()
            return response.status_code
    raise httpx.ConnectError("none of the addresses can be reached")


def _pinned(
    client: httpx.AsyncClient, url: httpx.URL, address: ssrf.IPAddress, body: Mapping[str, Any]
) -> httpx.Request:
    """A request to the very address that was checked, which still names the host to its server and to TLS."""
    host = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
    return client.build_request(
        "POST",
        url.copy_with(host=host),
        json=dict(body),
        headers={"Host": url.netloc.decode("ascii"), "User-Agent": "Hogsend"},
        extensions={"sni_hostname": url.raw_host.decode("ascii")},
    )


async def _email(runtime: Runtime, to: str, notice: Notice) -> None:
    """Transactional for those whom an operator named; never to an address that bounced, complained or is suppressed."""
    async with runtime.database.read() as conn:
        refused = await refusal(conn, contact_id=None, email=to, category=TRANSACTIONAL)
    if refused is not None:
        raise DeliveryFailed(f"The address is not written to: {refused.reason.value}")
    message = Message(
        to=to,
        from_email=runtime.settings.email_from,
        subject=notice.headline,
        html=f"<p><strong>{escape(notice.headline)}</strong></p><p>{escape(notice.sentence)}</p>",
        text=f"{notice.headline}\n\n{notice.sentence}\n",
    )
    try:
        await runtime.provider.send(message, idempotency_key=f"alert:{notice.id}")
    except ProviderError as error:
        raise DeliveryFailed(error.reason) from None
