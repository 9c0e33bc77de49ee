"""Identity keys: the values by which a contact is known, checked and normalised once, and the names of their locks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hogsend.addresses import delivery_address
from hogsend.errors import InvalidInput
from hogsend.validation import NOBODYS, check_email, check_user_id

KeyKind = Literal["external_id", "email", "anonymous_id"]
Contact = Mapping[str, Any]
"""A row of `contacts`."""

KINDS: tuple[KeyKind, ...] = ("external_id", "email", "anonymous_id")
STRONG: tuple[KeyKind, ...] = ("external_id", "email")


@dataclass(frozen=True)
class Keys:
    """The keys of one call, normalised. `Keys.of` checks them too; `Keys.checked` is for what was checked before."""

    external_id: str | None = None
    email: str | None = None
    anonymous_id: str | None = None

    @classmethod
    def of(
        cls,
        external_id: str | None = None,
        email: str | None = None,
        anonymous_id: str | None = None,
        *,
        refused: Collection[str] = NOBODYS,
    ) -> Keys:
        """The email in its one spelling. Raises `InvalidInput` for a malformed key, and where there is none."""
        if external_id is not None:
            check_user_id("externalId", external_id, refused)
        if email is not None:
            email = normal_email(email)
        if anonymous_id is not None:
            check_user_id("anonymousId", anonymous_id, refused)
        if external_id is None and email is None and anonymous_id is None:
            raise InvalidInput("externalId", "One of externalId, email and anonymousId is required")
        return cls(external_id, email, anonymous_id)

    @classmethod
    def checked(
        cls, external_id: str | None = None, email: str | None = None, anonymous_id: str | None = None
    ) -> Keys:
        """The keys of an event that `check_event` has passed, or of a row: only the email's spelling is unified."""
        return cls(external_id, email if email is None else delivery_address(email), anonymous_id)

    def __iter__(self) -> Iterator[tuple[KeyKind, str]]:
        for kind in KINDS:
            value = self.get(kind)
            if value is not None:
                yield kind, value

    def get(self, kind: KeyKind) -> str | None:
        value: str | None = getattr(self, kind)
        return value

    def subjects(self) -> list[str]:
        """What `lock_subjects` takes to hold these keys."""
        return [key_subject(kind, value) for kind, value in self]


def key_subject(kind: KeyKind, value: str) -> str:
    """The name of a key's lock. Whoever gives a key to a contact, or takes it away from a live one, holds it."""
    return f"{kind.removesuffix('_id')}:{value}"


def normal_email(value: str) -> str:
    """An address in its one spelling. Raises `InvalidInput` where it is not an address."""
    return check_email("email", value)
