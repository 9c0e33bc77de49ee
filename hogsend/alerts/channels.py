"""Alert channels: a notice is posted to Slack or a webhook, or sent by email, once and within seconds."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from html import escape
from typing import Any
from uuid import uuid5

import orjson
from standardwebhooks.webhooks import Webhook

from hogsend.alerts import ssrf
from hogsend.alerts.channel_config import TARGETS
from hogsend.alerts.notice import Notice
from hogsend.alerts.posting import DeliveryFailed, Receipt, post
from hogsend.consent.refusal import refusal
from hogsend.consent.suppression import TRANSACTIONAL
from hogsend.emails.providers import Message, ProviderError
from hogsend.runtime import Runtime

# Slack refuses a header that is longer.
LONGEST_HEADER = 150


def new_secret() -> str:
    """A secret to sign webhooks with, as Standard Webhooks spells one."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


async def tell(
    runtime: Runtime,
    channel: str,
    config: Mapping[str, Any],
    notice: Notice,
    *,
    secret: str | None = None,
    resolve: ssrf.Resolve = ssrf.resolve,
) -> Receipt | None:
    """Bring `notice` to the channel, once, in at most some seconds. Raises `DeliveryFailed`. Hold no transaction.

    Returns what the receiver answered; None for an email. A webhook is signed with `secret` where there is one.
    """
    if channel == "email":
        await _email(runtime, config["to"], notice)
        return None
    base_url = runtime.settings.base_url
    said = _slack_body(config, notice, base_url) if channel == "slack" else notice.to_json(base_url)
    body = orjson.dumps(said)
    headers = _signed(runtime, notice, body, secret) if channel == "webhook" and secret else {}
    return await post(config[TARGETS[channel]], body, headers, ssrf.Policy.of(runtime.settings), resolve)


def _signed(runtime: Runtime, notice: Notice, body: bytes, secret: str) -> dict[str, str]:
    """The headers of Standard Webhooks; the id is the same each time that this is told."""
    wall = runtime.clock.wall()
    return {
        "webhook-id": str(notice.id),
        "webhook-timestamp": str(int(wall.timestamp())),
        "webhook-signature": Webhook(secret).sign(str(notice.id), wall, body.decode()),
    }


def _slack_body(config: Mapping[str, Any], notice: Notice, base_url: str) -> dict[str, Any]:
    """Blocks, and `text` for notifications and for what shows no blocks."""
    link = notice.link(base_url)
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": _cut(notice.headline), "emoji": False}},
        {"type": "section", "text": {"type": "mrkdwn", "text": _plain(notice.sentence)}},
        {
            "type": "context",
            "elements": [
                {"type": "mrkdwn", "text": f"{notice.type} · {notice.at:%Y-%m-%d %H:%M} UTC"},
                {"type": "mrkdwn", "text": f"<{_plain(link)}|What to look at>"},
            ],
        },
    ]
    text = f"*{_plain(notice.headline)}*\n{_plain(notice.sentence)}"
    return {"text": text, "blocks": blocks} | ({"channel": config["channel"]} if "channel" in config else {})


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_HEADER else f"{text[: LONGEST_HEADER - 1]}…"


def _plain(text: str) -> str:
    """Slack's three control characters, so that a rule's name mentions and links nobody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


async def _email(runtime: Runtime, to: str, notice: Notice) -> None:
    """Transactional for those whom an operator named; never to an address that bounced, complained or is suppressed."""
    async with runtime.database.read() as conn:
        refused = await refusal(conn, contact_id=None, email=to, category=TRANSACTIONAL)
    if refused is not None:
        raise DeliveryFailed(f"The address is not written to: {refused.reason.value}", most_attempts=1)
    link = notice.link(runtime.settings.base_url)
    message = Message(
        to=to,
        from_email=runtime.settings.email_from,
        subject=notice.headline,
        html=f"<p><strong>{escape(notice.headline)}</strong></p><p>{escape(notice.sentence)}</p>"
        f'<p><a href="{escape(link)}">What to look at</a></p>',
        text=f"{notice.headline}\n\n{notice.sentence}\n\nWhat to look at: {link}\n",
    )
    # Another address is another email: a provider refuses the same key with other words.
    key = f"alert:{uuid5(notice.id, to)}"
    try:
        await runtime.provider.send(message, idempotency_key=key)
    except ProviderError as error:
        raise DeliveryFailed(error.reason) from None
