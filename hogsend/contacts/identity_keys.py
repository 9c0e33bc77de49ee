"""The keys by which a person is known, and what they say about who is who."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from hogsend.errors import InvalidInput
from hogsend.validation import MAX_KEY, check_email, check_text

Kind = Literal["external_id", "email", "anonymous_id"]
Contact = Mapping[str, Any]
"""A row of `contacts`."""

KINDS: tuple[Kind, ...] = ("external_id", "email", "anonymous_id")
STRONG: tuple[Kind, ...] = ("external_id", "email")


@dataclass(frozen=True)
class Keys:
    """The keys of one call, normalised. Make it with `Keys.of`."""

    external_id: str | None = None
    email: str | None = None
    anonymous_id: str | None = None

    @classmethod
    def of(
        cls, external_id: str | None = None, email: str | None = None, anonymous_id: str | None = None
    ) -> Keys:
        """Trim and lower-case the email. Raises `InvalidInput` for a malformed key, and where there is none."""
        if external_id is not None:
            check_text("externalId", external_id, MAX_KEY)
        if email is not None:
            email = normal_email(email)
        if anonymous_id is not None:
            check_text("anonymousId", anonymous_id, MAX_KEY)
        if external_id is None and email is None and anonymous_id is None:
            raise InvalidInput("externalId", "One of externalId, email and anonymousId is required")
        return cls(external_id, email, anonymous_id)

    def __iter__(self) -> Iterator[tuple[Kind, str]]:
        for kind in KINDS:
            value = self.get(kind)
            if value is not None:
                yield kind, value

    def get(self, kind: Kind) -> str | None:
        value: str | None = getattr(self, kind)
        return value

    def subjects(self) -> list[str]:
        """What `lock_subjects` takes to hold these keys."""
        return [key_subject(kind, value) for kind, value in self]


def key_subject(kind: Kind, value: str) -> str:
    """The name of a key's lock. Whoever gives a key to a contact, or takes it away from a live one, holds it."""
    return f"{kind.removesuffix('_id')}:{value}"


def normal_email(value: str) -> str:
    """Trimmed and lower-cased. Raises `InvalidInput` where it is not an address."""
    check_email("email", value)
    return value.strip().lower()


@dataclass(frozen=True)
class Plan:
    """What a call's keys mean: who survives, who is merged into them, and which keys they take on."""

    survivor: Contact | None
    losers: Sequence[Contact]
    keys: Keys

    def ids(self) -> set[UUID]:
        rows = [*self.losers, self.survivor] if self.survivor is not None else list(self.losers)
        return {row["id"] for row in rows}


def plan(keys: Keys, owners: Mapping[Kind, Contact]) -> Plan:
    """Decide whom `keys` speak of, given the live contact that owns each of them.

    An external id and an email that come together name one person: the owner of the external id survives.
    An anonymous id is a device, which people share: it joins contacts only where nothing contradicts it, and
    is left out of the returned keys where something does.
    """
    strong: list[Contact] = []
    for kind in STRONG:
        owner = owners.get(kind)
        if owner is not None and all(owner["id"] != other["id"] for other in strong):
            strong.append(owner)
    device = owners.get("anonymous_id")
    if device is None or any(device["id"] == other["id"] for other in strong):
        group = strong
    elif _contradicts(device, keys, strong):
        group = strong
        keys = Keys(keys.external_id, keys.email)
    else:
        group = [*strong, device]
    return Plan(group[0], group[1:], keys) if group else Plan(None, (), keys)


def _contradicts(device: Contact, keys: Keys, group: Sequence[Contact]) -> bool:
    """Whether the owner of an anonymous id is visibly someone else: has another value of a strong key."""
    for kind in STRONG:
        mine = device[kind]
        theirs = {keys.get(kind), *(row[kind] for row in group)} - {None}
        if mine is not None and theirs and mine not in theirs:
            return True
    return False
