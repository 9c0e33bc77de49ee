"""The other providers: a mail server, the memory of tests, the inbox of development."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from hogsend.clock import ManualClock
from hogsend.emails.providers import (
    Message,
    OutcomeUnknown,
    ProviderError,
    ProviderRefused,
    TryLater,
    make_provider,
)
from hogsend.emails.providers.inbox import InboxProvider
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.emails.providers.smtp import SmtpProvider, SmtpServer
from hogsend.runtime import Runtime
from hogsend.settings import Settings, SettingsError
from hogsend.storage.database import Database
from hogsend.tables.emails import inbox_messages, provider_events
from tests.standins.smtp import SmtpStandIn

MESSAGE = Message(
    to="ada@example.com",
    from_email="Hogsend <hello@example.com>",
    subject="Grüße",
    html="<p>Hällo</p>",
    text="Hällo",
    headers={"List-Unsubscribe": "<https://h.test/u>"},
)


@pytest.fixture
async def mail_server() -> AsyncIterator[SmtpStandIn]:
    async with SmtpStandIn() as server:
        yield server


def smtp(port: int) -> SmtpProvider:
    return SmtpProvider(SmtpServer.from_url(f"smtp://127.0.0.1:{port}"), message_domain="example.com")


async def test_smtp_hands_over_both_parts_under_a_steady_id(mail_server: SmtpStandIn) -> None:
    provider = smtp(mail_server.port)
    ids = [await provider.send(MESSAGE, idempotency_key="k1") for _ in range(2)]
    assert ids == ["<k1@example.com>"] * 2
    mail = mail_server.accepted[0]
    assert (mail["Message-ID"], mail["Subject"], mail["To"]) == (
        "<k1@example.com>",
        "Grüße",
        "ada@example.com",
    )
    assert mail["From"] == "Hogsend <hello@example.com>"
    assert mail["List-Unsubscribe"] == "<https://h.test/u>"
    text, page = mail.iter_parts()
    assert text.get_content().strip() == "Hällo"
    assert page.get_content().strip() == "<p>Hällo</p>"


@pytest.mark.parametrize(
    ("answers", "kind", "accepted"),
    [
        ({"RCPT": "550 no such user"}, ProviderRefused, 0),
        ({"RCPT": "451 greylisted"}, TryLater, 0),
        ({"MAIL": "421 too busy"}, TryLater, 0),
        ({"DATA": "554 no"}, ProviderRefused, 0),
        ({".": "452 full"}, TryLater, 0),
        ({".": "550 spam"}, ProviderRefused, 0),
        ({".": ""}, OutcomeUnknown, 1),
        ({"EHLO": "", "HELO": ""}, TryLater, 0),
    ],
)
async def test_what_a_mail_server_means(
    mail_server: SmtpStandIn, answers: dict[str, str], kind: type[ProviderError], accepted: int
) -> None:
    mail_server.answers = answers
    with pytest.raises(ProviderError) as error:
        await smtp(mail_server.port).send(MESSAGE, idempotency_key="k1")
    assert type(error.value) is kind
    assert len(mail_server.accepted) == accepted


@pytest.mark.parametrize("farewell", ["500 what?", ""])
async def test_a_rude_farewell_does_not_unsend(mail_server: SmtpStandIn, farewell: str) -> None:
    mail_server.answers = {"QUIT": farewell}
    assert await smtp(mail_server.port).send(MESSAGE, idempotency_key="k1") == "<k1@example.com>"
    assert len(mail_server.accepted) == 1


async def test_no_mail_server_is_known_not_to_be_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(TryLater, match="cannot be reached"):
        await smtp(port).send(MESSAGE, idempotency_key="k1")


async def test_a_header_that_is_two_is_refused(mail_server: SmtpStandIn) -> None:
    with pytest.raises(ProviderRefused):
        await smtp(mail_server.port).send(
            replace(MESSAGE, subject="a\r\nBcc: b@x.example"), idempotency_key="k"
        )


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example", SmtpServer("mail.example", 587, False, None, None)),
        ("smtps://u%40x:p%3Aw@mail.example", SmtpServer("mail.example", 465, True, "u@x", "p:w")),
        ("smtp://mail.example:2525", SmtpServer("mail.example", 2525, False, None, None)),
    ],
)
def test_smtp_urls(url: str, server: SmtpServer) -> None:
    assert SmtpServer.from_url(url) == server


def test_a_wrong_smtp_url_is_named_without_its_password() -> None:
    with pytest.raises(SettingsError) as error:
        SmtpServer.from_url("http://u:secret@mail.example")
    assert "secret" not in str(error.value)


async def test_memory_counts_emails_and_tries() -> None:
    provider = MemoryProvider()
    provider.faults = [TryLater("not now")]
    with pytest.raises(TryLater):
        await provider.send(MESSAGE, idempotency_key="k1")
    ids = {await provider.send(MESSAGE, idempotency_key="k1") for _ in range(2)}
    assert len(ids) == 1
    assert provider.calls["k1"] == 3
    assert provider.to("ada@example.com") == [MESSAGE]
    with pytest.raises(ProviderRefused):
        await provider.send(replace(MESSAGE, subject="Other"), idempotency_key="k1")


async def test_the_inbox_keeps_keys_as_resend_does(runtime: Runtime, clock: ManualClock) -> None:
    provider = InboxProvider(runtime.database, clock)
    ids = await asyncio.gather(*(provider.send(MESSAGE, idempotency_key="k1") for _ in range(8)))
    assert len(set(ids)) == 1
    with pytest.raises(ProviderRefused, match="409"):
        await provider.send(replace(MESSAGE, subject="Other"), idempotency_key="k1")
    async with runtime.database.read() as conn:
        assert (await conn.execute(select(func.count()).select_from(inbox_messages))).scalar_one() == 1


@pytest.mark.parametrize(
    ("address", "facts"),
    [
        ("ada@example.com", ["delivered"]),
        ("bounce@example.com", ["bounced"]),
        ("complain@example.com", ["complained", "delivered"]),
    ],
)
async def test_the_inbox_reports_what_becomes_of_a_message_once(
    runtime: Runtime, clock: ManualClock, address: str, facts: list[str]
) -> None:
    provider = InboxProvider(runtime.database, clock)
    for _ in range(2):
        await provider.send(replace(MESSAGE, to=address), idempotency_key="k1")
    async with runtime.database.read() as conn:
        found = await conn.execute(select(provider_events.c.type).order_by(provider_events.c.type))
    assert list(found.scalars()) == facts


async def test_a_lost_inbox_is_an_unknown_outcome(clock: ManualClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    database = Database.open(Settings(database_url=f"postgresql://u:p@127.0.0.1:{port}/x"))
    with pytest.raises(OutcomeUnknown):
        await InboxProvider(database, clock).send(MESSAGE, idempotency_key="k1")
    await database.close()


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"email_provider": None}, "inbox"),
        ({"email_provider": None, "resend_api_key": "re_x"}, "resend"),
        ({"email_provider": "smtp", "smtp_url": "smtp://mail.example"}, "smtp"),
        ({"email_provider": "memory"}, "memory"),
    ],
)
async def test_the_settings_name_the_provider(
    settings: Settings, runtime: Runtime, values: dict[str, str], name: str
) -> None:
    provider = make_provider(Settings(**{**settings.model_dump(), **values}), runtime.database, runtime.clock)
    assert provider.name == name
    await provider.close()
