"""Opaque cursors: a place in an ordered list, as text that a client hands back."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson


class BadCursor(ValueError):
    """The text is not a cursor of this list."""


@dataclass(frozen=True)
class Cursor:
    """A row's place: what the list is ordered by, the row's value there (or None), and the key that breaks ties."""

    order: str
    value: Any
    key: Any

    def encode(self) -> str:
        text = orjson.dumps([self.order, _plain(self.value), _plain(self.key)])
        return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def decode(text: str, order: str, value_type: type, key_type: type) -> Cursor:
    """Raises `BadCursor` for anything that `Cursor.encode` did not make for a list in this order."""
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        given, value, key = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if given != order:
            raise BadCursor(text)
        return Cursor(order, None if value is None else _typed(value, value_type), _typed(key, key_type))
    except (
        binascii.Error,
        orjson.JSONDecodeError,
        UnicodeEncodeError,
        TypeError,
        ValueError,
        OverflowError,
    ) as error:
        raise BadCursor(text) from error


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return str(value) if isinstance(value, UUID) else value


def _typed(value: Any, kind: type) -> Any:
    if kind is datetime:
        return datetime.fromisoformat(value).astimezone(UTC)
    if kind is UUID:
        return UUID(value)
    if type(value) is not kind or (isinstance(value, str) and "\x00" in value):
        raise BadCursor(str(value))
    if isinstance(value, int) and abs(value) >= 2**63:
        raise BadCursor(str(value))
    return value
