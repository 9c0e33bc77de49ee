"""Callers and scopes: who is calling, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class Scope(StrEnum):
    """What a key opens. read < journey-admin < full-admin; ingest stands apart."""

    READ = "read"
    JOURNEY_ADMIN = "journey-admin"
    FULL_ADMIN = "full-admin"
    INGEST = "ingest"


_OPENS: dict[Scope, frozenset[Scope]] = {
    Scope.READ: frozenset({Scope.READ}),
    Scope.JOURNEY_ADMIN: frozenset({Scope.READ, Scope.JOURNEY_ADMIN}),
    Scope.FULL_ADMIN: frozenset(Scope),
    Scope.INGEST: frozenset({Scope.INGEST}),
}

LEGACY = "legacy"


@dataclass(frozen=True)
class Caller:
    """A key that was let in. `key_id` is None for ADMIN_API_KEY, whose name is `legacy`."""

    name: str
    scopes: frozenset[Scope]
    key_id: UUID | None = None

    def may(self, scope: Scope) -> bool:
        """Whether one of the key's scopes is `scope` or implies it."""
        return any(scope in _OPENS[held] for held in self.scopes)

    @property
    def rate_key(self) -> str:
        """What its requests are counted under."""
        return str(self.key_id) if self.key_id is not None else LEGACY


THE_ADMIN_KEY = Caller(LEGACY, frozenset({Scope.FULL_ADMIN}))
