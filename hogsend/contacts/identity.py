"""Identity resolution, decided: whom keys speak of, and what becomes of each key. Pure: reads and writes nothing.

`lookup` says what is known, `plan` decides, `resolve` takes the locks and carries it out. `docs/identity.md` has
the rules in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from hogsend.contacts.identity_keys import STRONG, Contact, KeyKind, Keys


@dataclass(frozen=True)
class IdentityPlan:
    """Who survives, who is merged into them, and which keys they take on. No survivor: a contact is to be made."""

    survivor: Contact | None
    losers: Sequence[Contact]
    keys: Keys

    def ids(self) -> set[UUID]:
        rows = [*self.losers, self.survivor] if self.survivor is not None else list(self.losers)
        return {row["id"] for row in rows}


@dataclass(frozen=True)
class KeyChanges:
    """Which keys become the contact's own, and which lead to it as aliases: former ones, and those beside its own."""

    own: Mapping[KeyKind, str]
    aliases: Sequence[tuple[KeyKind, str]]


def plan(keys: Keys, owners: Mapping[KeyKind, Contact]) -> IdentityPlan:
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
    return IdentityPlan(group[0], group[1:], keys) if group else IdentityPlan(None, (), keys)


def _contradicts(device: Contact, keys: Keys, group: Sequence[Contact]) -> bool:
    """Whether the owner of an anonymous id is visibly someone else: has another value of a strong key."""
    for kind in STRONG:
        mine = device[kind]
        theirs = {keys.get(kind), *(row[kind] for row in group)} - {None}
        if mine is not None and theirs and mine not in theirs:
            return True
    return False


def key_changes(contact: Contact, keys: Keys) -> KeyChanges:
    """What a contact that is planned to take `keys` on gains. The address that comes with an external id is current."""
    own: dict[KeyKind, str] = {kind: value for kind, value in keys if contact[kind] is None}
    if keys.external_id is not None and keys.email is not None and keys.email != contact["email"]:
        own["email"] = keys.email
    former = [(kind, contact[kind]) for kind in own if contact[kind] is not None]
    beside = [(kind, value) for kind, value in keys if kind not in own and contact[kind] != value]
    return KeyChanges(own, [*former, *beside])
