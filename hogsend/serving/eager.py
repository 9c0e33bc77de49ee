"""Run a coroutine until it first waits, without the price of a task for those that never do."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from types import coroutine as generator_coroutine
from typing import Any


def begun(work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
    """Run `work` as far as it goes at once: None where it has ended, else the task that does the rest.

    To be called inside a task. Raises what `work` raises before it first waits.
    """
    try:
        awaited = work.send(None)
    except StopIteration:
        return None
    return asyncio.ensure_future(_rest(work, awaited))


@generator_coroutine
def _rest(work: Coroutine[Any, Any, None], awaited: Any) -> Generator[Any, Any, None]:
    """Wait for what `work` waits for already, then let it go on."""
    while True:
        thrown: BaseException | None = None
        value: Any = None
        try:
            value = yield awaited
        except BaseException as error:
            thrown = error
        try:
            awaited = work.send(value) if thrown is None else work.throw(thrown)
        except StopIteration:
            return
