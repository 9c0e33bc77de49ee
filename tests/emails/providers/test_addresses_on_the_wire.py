"""International addresses as providers are given them: the ASCII spelling of the domain, to whom and from whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from hogsend.addresses import BadAddress, checked_mailbox
from hogsend.clock import ManualClock
from hogsend.emails.providers import Message, ProviderRefused
from hogsend.emails.providers.resend import ResendProvider
from hogsend.emails.providers.smtp import SmtpProvider, SmtpServer
from hogsend.settings import SettingsError, load_settings
from tests.standins import resend as resend_standin
from tests.standins.resend import ResendStandIn
from tests.standins.smtp import SmtpStandIn

PUNYCODE = "xn--mnchen-3ya.de"
MESSAGE = Message(
    to="jo@münchen.de",
    from_email='"Müller, Söhne" <post@münchen.de>',
    subject="Grüße",
    html="<p>Hallo</p>",
    text="Hallo",
    reply_to="hilfe@münchen.de",
)


@pytest.fixture
async def mail_server() -> AsyncIterator[SmtpStandIn]:
    async with SmtpStandIn() as server:
        yield server


@pytest.fixture
def smtp(mail_server: SmtpStandIn) -> SmtpProvider:
    url = f"smtp://127.0.0.1:{mail_server.port}"
    return SmtpProvider(SmtpServer.from_url(url), message_domain="example.com")


async def test_smtp_speaks_ascii_in_the_envelope_and_in_the_headers(
    smtp: SmtpProvider, mail_server: SmtpStandIn
) -> None:
    await smtp.send(MESSAGE, idempotency_key="k1")
    dialogue = [line for line in mail_server.heard if line.lower().startswith(("mail", "rcpt"))]
    assert [line.lower() for line in dialogue] == [
        f"mail from:<post@{PUNYCODE}>",
        f"rcpt to:<jo@{PUNYCODE}>",
    ]
    (mail,) = mail_server.accepted
    assert (mail["To"], mail["Reply-To"]) == (f"jo@{PUNYCODE}", f"hilfe@{PUNYCODE}")
    (sender,) = mail["From"].addresses
    assert (sender.display_name, sender.addr_spec) == ("Müller, Söhne", f"post@{PUNYCODE}")


async def test_a_server_that_knows_only_ascii_takes_no_other_local_part_and_that_is_known(
    smtp: SmtpProvider, mail_server: SmtpStandIn
) -> None:
    with pytest.raises(ProviderRefused, match="SMTPUTF8"):
        await smtp.send(replace(MESSAGE, to="rené@example.com"), idempotency_key="k1")
    assert not mail_server.accepted
    assert not [line for line in mail_server.heard if line.lower().startswith("rcpt")]


async def test_resend_is_given_ascii_domains(clock: ManualClock) -> None:
    async with ResendStandIn(clock) as server:
        provider = ResendProvider(api_key=resend_standin.API_KEY, api_url=server.url, clock=clock)
        await provider.send(MESSAGE, idempotency_key="k1")
        await provider.close()
        (taken,) = server.accepted
    assert taken.body["to"] == [f"jo@{PUNYCODE}"]
    assert taken.body["from"] == f'"Müller, Söhne" <post@{PUNYCODE}>'
    assert taken.body["reply_to"] == f"hilfe@{PUNYCODE}"


@pytest.mark.parametrize(
    ("given", "header"),
    [
        ("ada@example.com", "ada@example.com"),
        ("<ada@example.com>", "ada@example.com"),
        ("  Ada Lovelace <Ada@Example.com> ", "Ada Lovelace <ada@example.com>"),
        ("Acme, Inc. <a@example.com>", '"Acme, Inc." <a@example.com>'),
        (r'"The \"A\" Team" <a@example.com>', r'"The \"A\" Team" <a@example.com>'),
        ("👩‍💻 <a@example.com>", "👩‍💻 <a@example.com>"),
    ],
)
def test_a_sender_is_written_so_that_mail_servers_read_it(given: str, header: str) -> None:
    assert checked_mailbox(given).header() == header
    assert checked_mailbox(header).header() == header


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Acme",
        "Acme <>",
        "Acme <a@example.com",
        "a@example.com, b@example.com",
        "Acme <a@example.com> <b@example.com>",
        "Acme <a@example.com>, b@example.com",
        "real@bank.com <a@example.com>",
        "Acme\r\nBcc: all@example.com <a@example.com>",
        "Acme <a..b@example.com>",
    ],
)
def test_what_is_no_sender_is_refused(given: str) -> None:
    with pytest.raises(BadAddress):
        checked_mailbox(given)


def test_the_usual_sender_is_checked_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOGSEND_EMAIL_FROM", "Acme <hello at acme>")
    with pytest.raises(SettingsError, match=r"HOGSEND_EMAIL_FROM.*must be an email address, alone or as in"):
        load_settings(database_url="postgresql://x/x")
