"""A process that tells receivers of the test, and five that evaluate at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from hogsend.boot import open_runtime
from hogsend.clock import ManualClock
from hogsend.journeys.registry import Registry
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from tests.standins.receiver import ReceiverStandIn
from tests.standins.resend import WEBHOOK_SECRET


@pytest.fixture
def settings(settings: Settings) -> Settings:
    changes: dict[str, Any] = {
        "alert_private_targets": True,
        "allow_http_targets": True,
        "alert_minimum_sends": 4,
        "resend_webhook_secret": WEBHOOK_SECRET,
        "dev": True,
    }
    return Settings(**{**settings.model_dump(), **changes})


@pytest.fixture
async def receiver() -> AsyncIterator[ReceiverStandIn]:
    async with ReceiverStandIn() as receiver:
        yield receiver


@pytest.fixture
async def workers(settings: Settings, clock: ManualClock, runtime: Runtime) -> AsyncIterator[list[Runtime]]:
    """Five processes, each with a pool of its own."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                open_runtime(settings, clock=clock, templates=runtime.templates, registry=Registry())
            )
            for _ in range(5)
        ]
