"""Run a command's coroutine. asyncio is imported when one runs, so that `hogsend --help` does without it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """What `asyncio.run` does."""
    import asyncio

    return asyncio.run(work)
