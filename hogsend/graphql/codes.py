"""Enums of user error codes: one a mutation, every member described."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TypeVar

from hogsend.graphql.enums import described_enum

E = TypeVar("E", bound=Enum)

MEANT_EVERYWHERE = {
    "INVALID": "A field has a value that it does not take.",
    "NOT_FOUND": "What the input names does not exist.",
    "IDEMPOTENCY_KEY_REUSED": "The key was used before with another input.",
    "IN_PROGRESS": "The first call with this key is still under way.",
}


def error_codes(mutation: str, **meanings: str) -> Callable[[type[E]], type[E]]:
    """Make an Enum the error codes of `mutation`; `meanings` are those of members that are not meant everywhere."""

    def declare(kind: type[E]) -> type[E]:
        texts = MEANT_EVERYWHERE | meanings
        known = {member: texts[member.name] for member in kind if member.name in texts}
        described_enum(kind, kind.__name__, f"What can be wrong with `{mutation}`.", known)
        return kind

    return declare
