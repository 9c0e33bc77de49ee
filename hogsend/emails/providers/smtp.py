"""Email provider: any mail server, over SMTP."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import parseaddr
from urllib.parse import unquote, urlsplit

from hogsend.addresses import ascii_address, sender_header
from hogsend.emails.providers.errors import OutcomeUnknown, ProviderRefused, TryLater
from hogsend.emails.providers.message import Message
from hogsend.settings import Settings, SettingsError

TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class SmtpServer:
    """Where to hand mail over. `implicit_tls` is `smtps://`; else STARTTLS is used where it is offered."""

    host: str
    port: int
    implicit_tls: bool
    username: str | None
    password: str | None

    @classmethod
    def from_url(cls, url: str) -> SmtpServer:
        """Read `smtp://user:password@host:port`. Raises `SettingsError` for anything else."""
        parts = urlsplit(url)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise SettingsError(["SMTP_URL: must be smtp://user:password@host:port or smtps://…"])
        implicit = parts.scheme == "smtps"
        return cls(
            host=parts.hostname,
            port=parts.port or (465 if implicit else 587),
            implicit_tls=implicit,
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
        )


class SmtpProvider:
    """Each try opens its own connection, in a thread.

    SMTP has no idempotency keys. The `Message-ID` is made from the key, so that many mailboxes show one email
    where a try whose answer was lost is repeated; but the protocol cannot promise it.
    """

    name = "smtp"

    def __init__(self, server: SmtpServer, *, message_domain: str) -> None:
        self._server = server
        self._domain = message_domain

    @classmethod
    def from_settings(cls, settings: Settings) -> SmtpProvider:
        if settings.smtp_url is None:
            raise SettingsError(["SMTP_URL: must be set where the provider is smtp"])
        _, address = parseaddr(settings.email_from)
        domain = address.rpartition("@")[2] or "hogsend.invalid"
        return cls(SmtpServer.from_url(settings.smtp_url.get_secret_value()), message_domain=domain)

    async def send(self, message: Message, *, idempotency_key: str) -> str:
        """Hand one message over; returns its `Message-ID`. Raises as `EmailProvider.send` says."""
        message_id = f"<{idempotency_key}@{self._domain}>"
        try:
            mail = _mime(message, message_id)
        except ValueError as error:
            raise ProviderRefused(f"The message cannot be written as an email: {error}") from error
        await asyncio.to_thread(self._hand_over, mail)
        return message_id

    def _hand_over(self, mail: EmailMessage) -> None:
        handed_over = accepted = False
        try:
            with self._connect() as connection:
                connection.ehlo_or_helo_if_needed()
                if not self._server.implicit_tls and connection.has_extn("starttls"):
                    connection.starttls(context=ssl.create_default_context())
                if self._server.username is not None:
                    connection.login(self._server.username, self._server.password or "")
                # From here an answer that is lost may have been a yes.
                handed_over = True
                connection.send_message(mail)
                accepted = True
        except smtplib.SMTPNotSupportedError as error:
            if not handed_over:
                raise TryLater(f"The mail server does not do what is asked of it: {error}") from error
            raise ProviderRefused(
                "The mail server takes no address with letters beyond ASCII before its @ (SMTPUTF8)"
            ) from error
        except smtplib.SMTPRecipientsRefused as error:
            code, said = next(iter(error.recipients.values()))
            raise _answered(code, said) from error
        except smtplib.SMTPAuthenticationError as error:
            raise TryLater(f"The mail server refused the credentials ({error.smtp_code})") from error
        except smtplib.SMTPResponseException as error:
            if accepted:
                return  # Only the farewell went wrong.
            raise _answered(error.smtp_code, error.smtp_error) from error
        except (smtplib.SMTPException, OSError) as error:
            if accepted:
                return
            what = type(error).__name__
            if handed_over:
                raise OutcomeUnknown(f"The connection to the mail server was lost ({what})") from error
            raise TryLater(f"The mail server cannot be reached ({what})") from error

    def _connect(self) -> smtplib.SMTP:
        server = self._server
        if server.implicit_tls:
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT_SECONDS, context=context)
        return smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_SECONDS)

    async def close(self) -> None:
        """Nothing is kept open between tries."""


def _answered(code: int, said: bytes | str) -> ProviderRefused | TryLater:
    """4xx is "not now", 5xx is "no"."""
    words = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    reason = f"The mail server answered {code}: {words}"[:500]
    return TryLater(reason) if code < 500 else ProviderRefused(reason)


def _mime(message: Message, message_id: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = sender_header(message.from_email)
    mail["To"] = ascii_address(message.to)
    mail["Subject"] = message.subject
    mail["Message-ID"] = message_id
    if message.reply_to:
        mail["Reply-To"] = ascii_address(message.reply_to)
    for header, value in message.headers.items():
        mail[header] = value
    mail.set_content(message.text)
    mail.add_alternative(message.html, subtype="html")
    return mail
