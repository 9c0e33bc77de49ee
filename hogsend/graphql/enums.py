"""Enums whose every value is described."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

import strawberry

E = TypeVar("E", bound=Enum)


def described_enum(kind: type[E], name: str, description: str, values: Mapping[E, str]) -> None:
    """Make `kind` a GraphQL enum. Raises `LookupError` where a member has no description."""
    missing = [member.name for member in kind if member not in values]
    if missing:
        raise LookupError(f"{name}: describe {', '.join(missing)}")
    strawberry.enum(kind, name=name, description=description)
    definition: Any = kind.__strawberry_definition__  # type: ignore[attr-defined]
    texts = {member.name: text for member, text in values.items()}
    for value in definition.values:
        value.description = texts[value.name]
