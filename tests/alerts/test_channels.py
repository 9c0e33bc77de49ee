"""What a channel is told, and what stands in its way."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from hogsend.alerts.channels import tell
from hogsend.alerts.notice import Notice
from hogsend.alerts.posting import DeliveryFailed, Receipt
from hogsend.alerts.rule_types import RULE_TYPES, AlertRuleType
from hogsend.alerts.ssrf import IPAddress
from hogsend.clock import ManualClock
from hogsend.consent import suppression
from hogsend.emails.providers import ProviderRefused
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from hogsend.storage.metadata import new_id
from tests.standins.http import Answer, Reset
from tests.standins.receiver import ReceiverStandIn


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return Settings(**{**settings.model_dump(), "alert_private_targets": True, "allow_http_targets": True})


@pytest.fixture
async def receiver() -> AsyncIterator[ReceiverStandIn]:
    async with ReceiverStandIn() as receiver:
        yield receiver


def notice(clock: ManualClock, **values: Any) -> Notice:
    said: dict[str, Any] = {
        "id": new_id(),
        "rule_id": new_id(),
        "rule_name": "Bounces <!channel>",
        "type": "bounce_rate_exceeded",
        "current_value": 0.08,
        "threshold": 0.05,
        "at": clock.now(),
    }
    return Notice(**{**said, **values})


async def test_slack_is_told_in_words_that_mention_nobody(
    runtime: Runtime, clock: ManualClock, receiver: ReceiverStandIn
) -> None:
    config = {"webhookUrl": f"{receiver.url}/services/T0/B0/x", "channel": "#ops"}
    await tell(runtime, "slack", config, notice(clock))
    [body] = receiver.bodies
    sentence = "The bounce rate of the last 30 days is 8.00%; the rule allows 5.00%."
    header, section, context = body.pop("blocks")
    assert body == {"text": f"*Alert: Bounces &lt;!channel&gt;*\n{sentence}", "channel": "#ops"}
    # A plain text mentions nobody, whatever it says.
    assert header["text"] == {"type": "plain_text", "text": "Alert: Bounces <!channel>", "emoji": False}
    assert section["text"] == {"type": "mrkdwn", "text": sentence}
    assert context["elements"][1]["text"].startswith("<http://hogsend.test/graphql#query=query+BouncedEmails")
    assert "webhook-signature" not in receiver.requests[0].headers


async def test_a_webhook_gets_the_alert_as_json(
    runtime: Runtime, clock: ManualClock, receiver: ReceiverStandIn
) -> None:
    said = notice(clock, type="delivery_issue", current_value=None, test=True)
    document = RULE_TYPES[AlertRuleType.DELIVERY_ISSUE].document
    await tell(runtime, "webhook", {"url": f"{receiver.url}/hook?key=1"}, said)
    [body] = receiver.bodies
    link = body.pop("link")
    assert body == {
        "id": str(said.id),
        "event": "alert.test",
        "alertId": None,
        "ruleId": str(said.rule_id),
        "ruleName": "Bounces <!channel>",
        "type": "delivery_issue",
        "currentValue": None,
        "threshold": 0.05,
        "at": "2026-01-15T10:30:00.000Z",
        "resolution": None,
        "test": True,
        "message": "There is nothing to measure yet.",
        "lookAt": {"query": document, "variables": {"from": "2026-01-15T10:30:00.000Z"}},
    }
    fragment = parse_qs(urlsplit(link).fragment)
    assert fragment == {"query": [document], "variables": ['{"from":"2026-01-15T10:30:00.000Z"}']}
    assert receiver.requests[0].query == {"key": ["1"]}


async def test_an_email_goes_out_once_for_one_telling(runtime: Runtime, clock: ManualClock) -> None:
    provider = runtime.provider
    assert isinstance(provider, MemoryProvider)
    said = notice(clock, rule_name="Two\r\nlines")
    for _ in range(2):
        await tell(runtime, "email", {"to": "ops@example.com"}, said)
    [message] = provider.to("ops@example.com")
    assert message.subject == "Alert: Two lines"
    assert "8.00%" in message.text
    provider.faults.append(ProviderRefused("no such mailbox"))
    with pytest.raises(DeliveryFailed, match="no such mailbox"):
        await tell(runtime, "email", {"to": "ops@example.com"}, notice(clock))


@pytest.mark.parametrize("said", ["bounce", "complaint", "manual"])
async def test_no_alert_goes_to_an_address_that_is_suppressed(
    runtime: Runtime, clock: ManualClock, said: suppression.Type
) -> None:
    async with runtime.database.transaction() as conn:
        await suppression.suppress(conn, clock, "ops@example.com", said)
    with pytest.raises(DeliveryFailed, match="The address is not written to"):
        await tell(runtime, "email", {"to": "Ops@Example.com"}, notice(clock))
    assert isinstance(runtime.provider, MemoryProvider)
    assert runtime.provider.to("ops@example.com") == []


async def test_the_address_that_was_checked_is_the_one_that_is_called(
    runtime: Runtime, clock: ManualClock, receiver: ReceiverStandIn
) -> None:
    asked = []

    async def resolve(host: str, _port: int) -> Sequence[IPAddress]:
        asked.append(host)
        return [ip_address("127.0.0.1")]

    port = receiver.url.rpartition(":")[2]
    config = {"url": f"http://hooks.example:{port}/hook"}
    await tell(runtime, "webhook", config, notice(clock), resolve=resolve)
    assert asked == ["hooks.example"]
    assert receiver.requests[0].headers["host"] == f"hooks.example:{port}"


async def test_a_name_that_was_pointed_inwards_later_is_not_called(
    runtime: Runtime, clock: ManualClock, receiver: ReceiverStandIn
) -> None:
    async def resolve(_host: str, _port: int) -> Sequence[IPAddress]:
        return [ip_address("127.0.0.1")]

    runtime.settings = Settings(**{**runtime.settings.model_dump(), "alert_private_targets": False})
    port = receiver.url.rpartition(":")[2]
    with pytest.raises(DeliveryFailed, match="private network"):
        await tell(runtime, "webhook", {"url": f"http://a.example:{port}/"}, notice(clock), resolve=resolve)
    assert receiver.requests == []


async def test_a_redirect_is_a_failure(
    runtime: Runtime, clock: ManualClock, receiver: ReceiverStandIn
) -> None:
    receiver.faults.append(Answer(302, headers={"Location": f"{receiver.url}/secret"}))
    with pytest.raises(DeliveryFailed, match="answered 302"):
        await tell(runtime, "webhook", {"url": receiver.url}, notice(clock))
    assert len(receiver.requests) == 1


async def test_what_went_wrong_is_said_without_the_url(
    runtime: Runtime, clock: ManualClock, receiver: ReceiverStandIn
) -> None:
    receiver.faults.append(Reset(accepted=False))
    with pytest.raises(DeliveryFailed) as failed:
        await tell(runtime, "slack", {"webhookUrl": f"{receiver.url}/services/secret"}, notice(clock))
    assert "secret" not in failed.value.reason
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        with pytest.raises(DeliveryFailed, match="request failed: ConnectError"):
            await tell(runtime, "webhook", {"url": url}, notice(clock))


async def test_a_body_that_never_ends_does_not_undo_the_status(
    runtime: Runtime, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hogsend.alerts.posting.BODY_SECONDS", 0.2)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\ntaken")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        receipt = await tell(runtime, "webhook", {"url": url}, notice(clock))
    assert receipt == Receipt(200, "taken")
