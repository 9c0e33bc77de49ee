"""GraphQL enums, whose every value is described."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Self, TypeVar

import strawberry

E = TypeVar("E", bound=Enum)
W = TypeVar("W", bound="WireEnum")


class WireEnum(Enum):
    """Base of the enums that the schema alone knows. A member is `NAME = "value in the database", "description"`."""

    _value_: str
    description: str

    def __new__(cls, value: str, description: str = "") -> Self:
        member = object.__new__(cls)
        member._value_ = value
        member.description = description
        return member


def wire_enum(description: str, *, name: str | None = None) -> Callable[[type[W]], type[W]]:
    """Make a `WireEnum` a GraphQL enum. Raises `LookupError` where a member has no description."""

    def declare(kind: type[W]) -> type[W]:
        texts = {member: member.description for member in kind if member.description}
        described_enum(kind, name or kind.__name__, description, texts)
        return kind

    return declare


def described_enum(kind: type[E], name: str, description: str, values: Mapping[E, str]) -> None:
    """Make an enum of the domain a GraphQL enum. Raises `LookupError` where a member has no description."""
    missing = [member.name for member in kind if member not in values]
    if missing:
        raise LookupError(f"{name}: describe {', '.join(missing)}")
    strawberry.enum(kind, name=name, description=description)
    definition: Any = kind.__strawberry_definition__  # type: ignore[attr-defined]
    texts = {member.name: text for member, text in values.items()}
    for value in definition.values:
        value.description = texts[value.name]
