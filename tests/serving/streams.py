"""What tests of streams share: the documents that they subscribe with, and when those are followed."""

from __future__ import annotations

from typing import Any

from hogsend.runtime import Runtime
from hogsend.serving.broadcast import Broadcast
from tests.faults.site import eventually

EVENTS = "subscription ($after: String) { eventReceived(after: $after) { cursor event { name } } }"
OTHER = "subscription ($after: String) { eventReceived(after: $after) { event { name } } }"


async def opened(runtime: Runtime, streams: int) -> None:
    """Until so many streams are open and followed."""

    async def followed() -> bool:
        groups = runtime.part(Broadcast)._groups.values()
        return sum(len(group._subscribers) for group in groups if group.begun.is_set()) >= streams

    assert await eventually(followed)


def name_of(data: dict[str, Any]) -> str:
    return str(data["eventReceived"]["event"]["name"])


def cursor_of(data: dict[str, Any]) -> str:
    return str(data["eventReceived"]["cursor"])
