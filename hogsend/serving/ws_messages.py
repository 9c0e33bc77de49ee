"""Messages of `graphql-transport-ws` as they come in: bounded, parsed, and with what is wrong in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from hogsend.json_bounds import TooManyValues, check_values

LONGEST_GREETING = 16_384
"""Bytes of a message before its sender is known."""


class Closed(Exception):
    """Close the socket with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True)
class Greeting:
    """What `connection_init` says: the key, and where streams of an earlier socket have come to, by operation id.

    A client that `resumes` is told of cursors in pings.
    """

    authorization: str | None = None
    resumes: bool = False
    cursors: dict[str, str] = field(default_factory=dict)


async def read_message(text: str | None, data: bytes | None, longest: int | None) -> dict[str, Any]:
    """A message: an object with a `type`. Raises `Closed` (4400) for anything else, or over `longest` bytes."""
    frame = text.encode() if text is not None else data or b""
    if longest is not None and len(frame) > longest:
        raise Closed(4400, f"Before connection_ack a message has at most {longest:,} bytes")
    try:
        await check_values(frame)
        message = orjson.loads(frame)
    except TooManyValues as error:
        raise Closed(4400, str(error)) from None
    except orjson.JSONDecodeError:
        raise Closed(4400, "Messages must be JSON") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise Closed(4400, "Messages must be objects with a `type`")
    return message


def greeting(payload: Any) -> Greeting:
    """The payload of `connection_init`. Raises `Closed` (4400) that names what is wrong."""
    if payload is None:
        return Greeting()
    if not isinstance(payload, dict):
        raise Closed(4400, "`payload` must be an object")
    resume = payload.get("resume")
    if resume is None:
        return Greeting(_authorization(payload))
    if not isinstance(resume, dict) or not all(isinstance(cursor, str) for cursor in resume.values()):
        raise Closed(4400, "`payload.resume` must be an object of cursors by operation id")
    return Greeting(_authorization(payload), True, resume)


def operation_id(message: Mapping[str, Any]) -> str:
    """Raises `Closed` (4400) where there is none."""
    given = message.get("id")
    if not isinstance(given, str) or not given:
        raise Closed(4400, "`id` must be a non-empty string")
    return given


def _authorization(payload: Mapping[str, Any]) -> str | None:
    for name, value in payload.items():
        if name.lower() == "authorization" and isinstance(value, str):
            return value
    return None
