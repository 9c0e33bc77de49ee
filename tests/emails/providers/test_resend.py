"""Resend, with every way in which the wire can fail. The stand-in counts what it really accepted."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from hogsend.clock import ManualClock
from hogsend.emails.providers import Message, OutcomeUnknown, ProviderError, ProviderRefused, TryLater
from hogsend.emails.providers.resend import ResendProvider
from tests.standins import resend as standin
from tests.standins.http import Answer, Fault, Hold, Reset
from tests.standins.resend import ResendStandIn

MESSAGE = Message(
    to="ada@example.com",
    from_email="Hogsend <hello@example.com>",
    subject="Hello",
    html="<p>Hello</p>",
    text="Hello",
    reply_to="help@example.com",
    headers={"List-Unsubscribe": "<https://h.test/u>"},
    tags={"email_id": "1", "template": "welcome"},
)


@pytest.fixture
async def resend(clock: ManualClock) -> AsyncIterator[ResendStandIn]:
    async with ResendStandIn(clock) as server:
        yield server


@pytest.fixture
async def provider(resend: ResendStandIn, clock: ManualClock) -> AsyncIterator[ResendProvider]:
    provider = ResendProvider(api_key=standin.API_KEY, api_url=resend.url, clock=clock)
    yield provider
    await provider.close()


async def test_a_message_is_handed_over_whole(provider: ResendProvider, resend: ResendStandIn) -> None:
    message_id = await provider.send(MESSAGE, idempotency_key="k1")
    (taken,) = resend.accepted
    assert (taken.id, taken.key) == (message_id, "k1")
    assert taken.body == {
        "from": "Hogsend <hello@example.com>",
        "to": ["ada@example.com"],
        "subject": "Hello",
        "html": "<p>Hello</p>",
        "text": "Hello",
        "reply_to": "help@example.com",
        "headers": {"List-Unsubscribe": "<https://h.test/u>"},
        "tags": [{"name": "email_id", "value": "1"}, {"name": "template", "value": "welcome"}],
    }


async def test_the_same_key_is_one_email_for_a_day(
    provider: ResendProvider, resend: ResendStandIn, clock: ManualClock
) -> None:
    first = await provider.send(MESSAGE, idempotency_key="k1")
    clock.advance(timedelta(hours=23))
    assert await provider.send(Message.from_json(MESSAGE.to_json()), idempotency_key="k1") == first
    assert len({request.body for request in resend.requests}) == 1
    assert resend.sent_to["ada@example.com"] == 1
    clock.advance(timedelta(hours=1))
    assert await provider.send(MESSAGE, idempotency_key="k1") != first


async def test_two_providers_in_one_process_do_not_mix(resend: ResendStandIn, clock: ManualClock) -> None:
    async with ResendStandIn(clock) as other:
        providers = [
            ResendProvider(api_key=standin.API_KEY, api_url=server.url, clock=clock)
            for server in (resend, other)
        ]
        await asyncio.gather(
            *(provider.send(MESSAGE, idempotency_key=f"k{n}") for n in range(10) for provider in providers)
        )
        assert (len(resend.accepted), len(other.accepted)) == (10, 10)
        for provider in providers:
            await provider.close()


@pytest.mark.parametrize(
    ("fault", "kind", "words", "accepted"),
    [
        (
            standin.error(422, "validation_error", "Invalid `to`"),
            ProviderRefused,
            "422 validation_error: Invalid `to`",
            0,
        ),
        (standin.error(403, "validation_error", "Verify a domain"), ProviderRefused, "403", 0),
        (standin.error(409, "invalid_idempotent_request"), ProviderRefused, "409", 0),
        (standin.error(403, "invalid_api_key"), TryLater, "403 invalid_api_key", 0),
        (standin.error(401, "restricted_api_key"), TryLater, "401", 0),
        (standin.too_many(7), TryLater, "429", 0),
        (standin.error(429, "daily_quota_exceeded"), TryLater, "429", 0),
        (standin.error(409, "concurrent_idempotent_requests"), OutcomeUnknown, "409", 0),
        (standin.SERVER_ERROR, OutcomeUnknown, "500", 0),
        (Answer(502, b"<html>Bad gateway</html>", {"Content-Type": "text/html"}), OutcomeUnknown, "502", 0),
        (Answer(200, b"", {"Content-Type": "text/plain"}), OutcomeUnknown, "", 0),
        (Answer(200, b"{oops"), OutcomeUnknown, "", 0),
        (Answer(200, {}), OutcomeUnknown, "no id", 0),
        (Answer(200, []), OutcomeUnknown, "no id", 0),
        (Reset(accepted=True), OutcomeUnknown, "connection to Resend was lost", 1),
        (Reset(accepted=False), OutcomeUnknown, "connection to Resend was lost", 0),
    ],
)
async def test_what_an_answer_means(
    provider: ResendProvider,
    resend: ResendStandIn,
    fault: Fault,
    kind: type[ProviderError],
    words: str,
    accepted: int,
) -> None:
    resend.faults.append(fault)
    with pytest.raises(ProviderError) as error:
        await provider.send(MESSAGE, idempotency_key="k1")
    assert type(error.value) is kind
    assert words in error.value.reason
    assert standin.API_KEY not in error.value.reason
    assert len(resend.accepted) == accepted
    await provider.send(MESSAGE, idempotency_key="k1")
    assert resend.by_key == {"k1": 1}


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("Thu, 15 Jan 2026 10:31:30 GMT", 90),
        ("Thu, 15 Jan 2026 10:00:00 GMT", 0),
        ("999999999999", 86_400),
        ("soon", None),
        ("", None),
    ],
)
async def test_retry_after_is_honoured(
    provider: ResendProvider, resend: ResendStandIn, header: str, seconds: int | None
) -> None:
    resend.faults.append(standin.error(429, standin.RATE_LIMITED, retry_after=header))
    with pytest.raises(TryLater) as error:
        await provider.send(MESSAGE, idempotency_key="k1")
    assert error.value.retry_after == (None if seconds is None else timedelta(seconds=seconds))


async def test_no_answer_at_all_is_unknown_in_good_time(resend: ResendStandIn, clock: ManualClock) -> None:
    provider = ResendProvider(
        api_key=standin.API_KEY, api_url=resend.url, clock=clock, whole_call=timedelta(milliseconds=150)
    )
    resend.faults.append(Hold())
    with pytest.raises(OutcomeUnknown, match="did not answer in time"):
        await provider.send(MESSAGE, idempotency_key="k1")
    assert resend.by_key == {"k1": 1}
    await provider.close()


async def test_nobody_there_is_known_not_to_be_sent(clock: ManualClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    provider = ResendProvider(api_key="k", api_url=f"http://127.0.0.1:{port}", clock=clock)
    with pytest.raises(TryLater, match="cannot be reached"):
        await provider.send(MESSAGE, idempotency_key="k1")
    await provider.close()


async def test_a_wrong_key_is_said_and_not_shown(resend: ResendStandIn, clock: ManualClock) -> None:
    provider = ResendProvider(api_key="re_wrong_secret", api_url=resend.url, clock=clock)
    with pytest.raises(TryLater) as error:
        await provider.send(MESSAGE, idempotency_key="k1")
    assert "invalid_api_key" in error.value.reason
    assert "re_wrong_secret" not in error.value.reason
    await provider.close()
