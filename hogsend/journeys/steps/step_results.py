"""What a journey is handed: the person, the event that began the run, and what its steps answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from hogsend.journeys.schedule import timezone_of


@dataclass(frozen=True)
class User:
    """The person as they were when the run began; a replay sees the same. `ctx.current_user()` reads anew."""

    id: str
    external_id: str | None
    email: str
    properties: Mapping[str, Any]

    @property
    def timezone(self) -> ZoneInfo:
        """From the property `timezone`; UTC where there is none or it is not a zone."""
        return timezone_of(self.properties)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> User:
        return cls(
            value["id"],
            value["external_id"],
            value["email"] or "",
            MappingProxyType(dict(value["properties"])),
        )


@dataclass(frozen=True)
class TriggerEvent:
    """The event that began the run."""

    id: str
    name: str
    properties: Mapping[str, Any]
    occurred_at: datetime

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TriggerEvent:
        return cls(
            value["id"],
            value["name"],
            MappingProxyType(dict(value["properties"])),
            datetime.fromisoformat(value["occurred_at"]),
        )


@dataclass(frozen=True)
class SendResult:
    """`status` is sent, suppressed or failed; `reason` says why it was not sent.

    `email_id` is empty where an operator skipped a send that could not be rendered: there is no email.
    """

    status: str
    email_id: str
    reason: str | None = None

    @property
    def sent(self) -> bool:
        return self.status == "sent"


@dataclass(frozen=True)
class WaitResult:
    """What ended a wait. `properties` are the event's, empty where it timed out."""

    timed_out: bool
    properties: Mapping[str, Any] = field(default_factory=dict)
    event_id: str | None = None
    occurred_at: datetime | None = None

    def __bool__(self) -> bool:
        """True where the event arrived."""
        return not self.timed_out


@dataclass(frozen=True)
class CollectedEvent:
    """One event that a digest collected."""

    id: str
    properties: Mapping[str, Any]
    occurred_at: datetime
