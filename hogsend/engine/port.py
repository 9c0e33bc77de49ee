"""The engine port: an engine decides *when* work is called, never *what* happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID


@dataclass(frozen=True)
class Job:
    """Work that is not a journey. `payload` holds ids, never contents of files."""

    kind: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    dedupe_key: str | None = None


@dataclass(frozen=True)
class EngineHealth:
    """`latency_ms` is of one round trip; `detail` says what to do when it is down."""

    name: str
    up: bool
    latency_ms: float
    detail: str = ""


NO_WORKER = "no worker is running: start `hogsend worker`"


class EngineDown(Exception):
    """The engine did not answer. Whoever called tries again later; nothing was lost."""


class Engine(Protocol):
    """Hints and timers. Each call is at-least-once and safe to repeat."""

    async def start_run(self, run_id: UUID, generation: int) -> str | None:
        """Begin to drive a run; returns the engine's own id where it has one."""
        ...

    async def wake_run(self, run_id: UUID, generation: int, reason: str) -> None: ...

    async def cancel_run(self, run_id: UUID, engine_run_id: str | None) -> bool:
        """True only when the engine really stopped something."""
        ...

    async def enqueue(self, job_id: UUID) -> None:
        """Run the row of `jobs` with this id soon."""
        ...

    async def health(self) -> EngineHealth: ...
