"""Signed tokens of links in emails: by them a reader proves who they are, without an account."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import jwt
from pydantic import SecretStr

from hogsend.clock import Clock

# Longer than anyone keeps a newsletter before unsubscribing; a law that names a term names thirty days.
LIFETIME = timedelta(days=400)
_ALGORITHM = "HS256"
_AUDIENCE = "email-preferences"


class BadToken(Exception):
    """The token is forged, mangled or has expired. `expired` tells the two apart for the page."""

    def __init__(self, *, expired: bool) -> None:
        super().__init__("expired" if expired else "forged")
        self.expired = expired


@dataclass(frozen=True)
class ReaderToken:
    """Who the link was written to. `contact_id` is None where the email went to an address that nobody holds."""

    email: str
    contact_id: UUID | None
    email_id: UUID | None
    category: str | None


def issue(secret: SecretStr, clock: Clock, reader: ReaderToken) -> str:
    """A token that opens the unsubscribe page and the preference centre for `LIFETIME` of real time."""
    claims = {
        "aud": _AUDIENCE,
        "exp": int((clock.wall() + LIFETIME).timestamp()),
        "email": reader.email,
        "contact": str(reader.contact_id) if reader.contact_id is not None else None,
        "send": str(reader.email_id) if reader.email_id is not None else None,
        "category": reader.category,
    }
    present = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(present, _key(secret), algorithm=_ALGORITHM)


def read(secret: SecretStr, clock: Clock, token: str) -> ReaderToken:
    """What a token says. Raises `BadToken`."""
    try:
        claims = jwt.decode(
            token,
            _key(secret),
            algorithms=[_ALGORITHM],
            audience=_AUDIENCE,
            # Its expiry is held against our clock below, not against the library's.
            options={"require": ["exp", "email"], "verify_exp": False},
        )
        reader = ReaderToken(
            email=str(claims["email"]),
            contact_id=UUID(claims["contact"]) if "contact" in claims else None,
            email_id=UUID(claims["send"]) if "send" in claims else None,
            category=claims.get("category"),
        )
        expires = int(claims["exp"])
    except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError):
        raise BadToken(expired=False) from None
    if expires <= clock.wall().timestamp():
        raise BadToken(expired=True)
    return reader


def _key(secret: SecretStr) -> bytes:
    """A key of its own for this use, of the length that HS256 wants, whatever the secret's length."""
    return hashlib.sha256(b"hogsend/email-tokens/" + secret.get_secret_value().encode()).digest()
