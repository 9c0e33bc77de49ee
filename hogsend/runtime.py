"""Runtime: what the parts of one process share. `hogsend.boot` makes it; features take it as an argument."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from hogsend.clock import Clock
from hogsend.settings import Settings
from hogsend.storage.database import Database

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from hogsend.emails.providers import EmailProvider
    from hogsend.emails.templates.render import Templates
    from hogsend.engine.port import Engine
    from hogsend.journeys.registry import Registry


class Part(Protocol):
    """What a feature keeps for one process: a cache, a listener."""

    async def close(self) -> None: ...


P = TypeVar("P", bound=Part)


def no_fault(_point: str) -> None:
    """What `fault_point` is in production: nothing happens at a named point."""


def process_name() -> str:
    """Names one life of one process: what its leases are held under."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


@dataclass
class Runtime:
    """One process's parts.

    `fault_point` is called at named points; tests make it raise or kill there. `owner` is what leases are held under.
    """

    settings: Settings
    clock: Clock
    database: Database
    redis: Redis
    registry: Registry
    templates: Templates
    provider: EmailProvider
    engine: Engine = field(init=False)
    fault_point: Callable[[str], None] = field(default=no_fault)
    owner: str = field(default_factory=process_name)
    _parts: dict[type, Any] = field(default_factory=dict, repr=False)

    def part(self, kind: Callable[[Runtime], P]) -> P:
        """This process's one `kind`, made from the runtime when it is first asked for."""
        key = cast(type, kind)
        if key not in self._parts:
            self._parts[key] = kind(self)
        return cast(P, self._parts[key])

    async def close_parts(self) -> None:
        """Close what `part` made, the last one first."""
        while self._parts:
            await self._parts.popitem()[1].close()
