"""What the parts of one process share. `hogsend.boot` makes it; features take it as an argument."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hogsend.clock import Clock
from hogsend.settings import Settings
from hogsend.storage.database import Database

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from hogsend.emails.providers import EmailProvider
    from hogsend.emails.render import Templates
    from hogsend.journeys.registry import Registry


def no_fault(_point: str) -> None:
    """What `crash_at` is in production: nothing happens at a named point."""


@dataclass
class Runtime:
    """One process's parts. `crash_at` is called at named points; tests make it raise or kill there."""

    settings: Settings
    clock: Clock
    database: Database
    redis: Redis
    registry: Registry
    templates: Templates
    provider: EmailProvider
    crash_at: Callable[[str], None] = field(default=no_fault)
