"""Validation of input: text, email addresses, JSON properties. Errors name the field and what it takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import orjson

from hogsend.addresses import BadAddress, checked_address, checked_mailbox
from hogsend.errors import InvalidInput

MAX_NAME = 200
MAX_MAILBOX = 640
MAX_KEY = 512
MAX_BYTES = 256 * 1024
MAX_DEPTH = 32

NOBODYS_IDS = ("undefined", "null", "NaN", "None", "[object Object]")
"""What a broken client makes of an id that it does not have: two strangers would be one person."""
NOBODYS = frozenset(each.casefold() for each in NOBODYS_IDS)


def check_text(field: str, value: object, longest: int) -> None:
    """Non-empty text of at most `longest` characters, none of which Postgres refuses."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidInput(field, f"{field} must be a non-empty string")
    if len(value) > longest:
        raise InvalidInput(field, f"{field} must be at most {longest} characters")
    if not _storable(value):
        raise InvalidInput(field, f"{field} must not contain NUL or unpaired surrogate characters")


def check_email(field: str, value: object) -> str:
    """An address that providers take, as email-validator judges it. Returns its one spelling."""
    if not isinstance(value, str):
        raise InvalidInput(field, f"{field} must be an email address such as ada@example.com")
    if not _storable(value):
        raise InvalidInput(field, f"{field} must not contain NUL or unpaired surrogate characters")
    try:
        return checked_address(value)
    except BadAddress as error:
        told = f"{field} must be an email address such as ada@example.com"
        # What has not even the look of one needs no more words.
        why = (
            f": {_sentence(str(error))}"
            if "@" in value.strip().strip("@") and " " not in value.strip()
            else ""
        )
        raise InvalidInput(field, f"{told}{why}") from None


def check_mailbox(field: str, value: object) -> None:
    """A sender: an address, with or without a name before it in angle brackets' way."""
    check_text(field, value, MAX_MAILBOX)
    try:
        checked_mailbox(str(value))
    except BadAddress as error:
        raise InvalidInput(
            field,
            f"{field} must be an email address, alone or as in Ada Lovelace <ada@example.com>: "
            f"{_sentence(str(error))}",
        ) from None


def _sentence(words: str) -> str:
    return f"{words[:1].lower()}{words[1:]}".removesuffix(".")


def check_user_id(field: str, value: object, refused: Collection[str]) -> None:
    """An id of a person, or of a device, that somebody meant. `refused` is case-folded."""
    check_text(field, value, MAX_KEY)
    if is_nobodys(str(value), refused):
        raise InvalidInput(
            field,
            f"{field} must be the id of one person: {str(value).strip()} is what a client sends without one",
        )


def is_nobodys(value: str, refused: Collection[str]) -> bool:
    """Whether an id is what a broken client makes of nothing."""
    return value.strip().casefold() in refused


def check_properties(field: str, value: object) -> None:
    """A JSON object that jsonb can hold: bounded in size and depth, no NUL, no lone surrogate, no NaN."""
    if not isinstance(value, Mapping):
        raise InvalidInput(field, f"{field} must be an object")
    _walk(field, value, 1)
    if len(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)) > MAX_BYTES:
        raise InvalidInput(field, f"{field} must be at most {MAX_BYTES // 1024} KiB of JSON")


def _walk(path: str, value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InvalidInput(path[:200], f"nested deeper than {MAX_DEPTH} levels")
    match value:
        case str():
            if not _storable(value):
                raise InvalidInput(path, f"{path} must not contain NUL or unpaired surrogate characters")
        case float() if value != value or value in (float("inf"), float("-inf")):
            raise InvalidInput(path, f"{path} must be a finite number")
        case int() if not isinstance(value, bool) and abs(value) >= 2**63:
            raise InvalidInput(path, f"{path} must be an integer of at most 64 bits")
        case Mapping():
            for key, item in value.items():
                if not isinstance(key, str) or not _storable(key):
                    raise InvalidInput(path, f"{path} has a key that is not storable text")
                _walk(f"{path}.{key}", item, depth + 1)
        case list() | tuple():
            for index, item in enumerate(value):
                _walk(f"{path}.{index}", item, depth + 1)


def _storable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in value
