"""Ids on the wire: a word for the type and the key, `contact_550e8400-…`, `journey_activation-welcome`."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from hogsend.errors import NotFound


def encode(prefix: str, key: object) -> str:
    return f"{prefix}_{key}"


def split(value: str) -> tuple[str, str]:
    """The type's word and the key; the word is empty where there is none."""
    prefix, _, key = value.partition("_")
    return (prefix, key) if key else ("", value)


def uuid_of(value: str, prefix: str) -> UUID | None:
    """The UUID in `<prefix>_<uuid>` or in a bare UUID; None where it is neither."""
    text = value.removeprefix(f"{prefix}_")
    if len(text) != 36:
        return None
    try:
        return UUID(text)
    except ValueError:
        return None


def key_of(value: str, prefix: str, thing: str) -> UUID:
    """The UUID as `uuid_of` reads it. Raises `NotFound` where it is none: there is no such `thing`."""
    key = uuid_of(value, prefix)
    if key is None:
        raise NotFound(thing)
    return key


def name_of(value: str, prefix: str) -> str:
    """The author's id in `journey_<id>` or in a bare one."""
    return value.removeprefix(f"{prefix}_")


def name_from(prefix: str) -> Callable[[str], str]:
    """The conversion of an id or a bare key into the key: `name_of` of that type."""
    return lambda value: name_of(value, prefix)
