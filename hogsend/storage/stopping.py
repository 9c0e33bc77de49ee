"""Cancellation of background tasks, for sure."""

from __future__ import annotations

import asyncio
from typing import Any

ASK_AGAIN_SECONDS = 0.1


async def stop(*tasks: asyncio.Task[Any]) -> None:
    """Cancel until they are done, whatever they end with.

    Once is not enough: a cancellation that arrives while redis-py connects is lost.
    """
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=ASK_AGAIN_SECONDS)
    for task in tasks:
        if not task.cancelled():
            task.exception()
