"""Links prove who a reader is: for a while, and only as we made them."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import jwt
import pytest
from pydantic import SecretStr

from hogsend.clock import ManualClock
from hogsend.consent import tokens
from hogsend.consent.tokens import BadToken, ReaderToken

SECRET = SecretStr("short")
READER = ReaderToken("ada@example.com", uuid4(), uuid4(), "news")


@pytest.mark.parametrize("reader", [READER, ReaderToken("eve@example.com", None, None, None)])
def test_a_token_says_who_it_was_made_for(clock: ManualClock, reader: ReaderToken) -> None:
    assert tokens.read(SECRET, clock, tokens.issue(SECRET, clock, reader)) == reader


def test_a_token_expires_by_our_clock(clock: ManualClock) -> None:
    token = tokens.issue(SECRET, clock, READER)
    clock.advance(tokens.LIFETIME - timedelta(seconds=1))
    assert tokens.read(SECRET, clock, token) == READER
    clock.advance(timedelta(seconds=1))
    with pytest.raises(BadToken) as error:
        tokens.read(SECRET, clock, token)
    assert error.value.expired


def forgeries(clock: ManualClock) -> list[str]:
    good = tokens.issue(SECRET, clock, READER)
    head, claims, signature = good.split(".")
    far = 4_000_000_000
    return [
        "",
        "x",
        "..",
        f"{head}.{claims}.",
        f"{head}.{claims}.{signature[:-2]}xx",
        tokens.issue(SecretStr("another"), clock, READER),
        jwt.encode({"aud": "email-preferences", "exp": far, "email": "x"}, None, algorithm="none"),
        jwt.encode({"aud": "other", "exp": far, "email": "x"}, tokens._key(SECRET), algorithm="HS256"),
        jwt.encode({"aud": "email-preferences", "email": "x"}, tokens._key(SECRET), algorithm="HS256"),
        jwt.encode(
            {"aud": "email-preferences", "exp": far, "email": "x", "contact": "no-uuid"},
            tokens._key(SECRET),
            algorithm="HS256",
        ),
    ]


@pytest.mark.parametrize("number", range(10))
def test_a_forged_or_mangled_token_is_refused(clock: ManualClock, number: int) -> None:
    with pytest.raises(BadToken) as error:
        tokens.read(SECRET, clock, forgeries(clock)[number])
    assert not error.value.expired
