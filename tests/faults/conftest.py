"""The journey under test, and a runtime that knows it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from pathlib import Path

import pytest

from hogsend.boot import open_runtime
from hogsend.clock import ManualClock
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.emails.templates.render import Templates
from hogsend.journeys.definition import Journey
from hogsend.journeys.registry import Registry
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from tests.servers import empty_database


@cache
def templates_of_tests() -> Templates:
    return Templates.load([Path(__file__).parent.parent / "templates"])


RunningWith = Callable[..., AbstractAsyncContextManager[Runtime]]


@pytest.fixture
def running(settings: Settings, clock: ManualClock, clean: None) -> RunningWith:
    """`async with running(journey, …) as runtime`: a process that knows these journeys and the test templates."""

    @asynccontextmanager
    async def open_with(*journeys: Journey, provider: MemoryProvider | None = None) -> AsyncIterator[Runtime]:
        async with open_runtime(
            settings,
            clock=clock,
            registry=Registry(journeys),
            templates=templates_of_tests(),
            provider=provider or MemoryProvider(),
        ) as runtime:
            yield runtime

    return open_with


@pytest.fixture
def clean_again(database_url: str) -> Callable[[], Awaitable[None]]:
    """Empty the database in the middle of a test."""

    async def empty() -> None:
        await empty_database(database_url)

    return empty
