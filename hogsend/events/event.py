"""Event values: `NewEvent` on the way in, `Event` once it is stored; and the check that Postgres can store it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from hogsend.errors import InvalidInput
from hogsend.validation import (
    MAX_KEY,
    MAX_NAME,
    check_email,
    check_properties,
    check_text,
    check_user_id,
)


@dataclass(frozen=True)
class NewEvent:
    """One event. `depth` counts the events that journeys triggered, one from the other, up to this one.

    `chain` counts them all, `depth` those since the chain last rested.
    One of `external_id`, `email`, `anonymous_id` says whose; `occurred_at` is aware, default now.
    """

    name: str
    external_id: str | None = None
    email: str | None = None
    anonymous_id: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    contact_properties: Mapping[str, Any] = field(default_factory=dict)
    occurred_at: datetime | None = None
    idempotency_key: str | None = None
    source: str = "api"
    depth: int = 0
    chain: int = 0


@dataclass(frozen=True)
class Event:
    """A stored event, as the parts that react to it see it."""

    id: UUID
    seq: int
    name: str
    properties: Mapping[str, Any]
    occurred_at: datetime
    received_at: datetime
    depth: int = 0
    chain: int = 0

    @classmethod
    def of(cls, row: Mapping[Any, Any]) -> Event:
        """The event of a row of `user_events`, whose columns have these names."""
        return cls(**{field.name: row[field.name] for field in fields(cls)})


def check_event(event: NewEvent, refused: Collection[str]) -> None:
    """Raise `InvalidInput` for the first field that is wrong; after it, Postgres can store the event.

    `refused`: ids that nobody means (`settings.nobodys_ids`).
    """
    check_text("name", event.name, MAX_NAME)
    if not any((event.external_id, event.email, event.anonymous_id)):
        raise InvalidInput("email", "Say whose event it is: email or userId is required")
    if event.external_id is not None:
        check_user_id("userId", event.external_id, refused)
    if event.email is not None:
        check_email("email", event.email)
    if event.anonymous_id is not None:
        check_user_id("anonymousId", event.anonymous_id, refused)
    if event.idempotency_key is not None:
        check_text("idempotencyKey", event.idempotency_key, MAX_KEY)
    check_properties("eventProperties", event.properties)
    check_properties("contactProperties", event.contact_properties)
