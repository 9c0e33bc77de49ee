"""A stand-in for Hatchet, and a runtime whose engine it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from hogsend.boot import open_runtime
from hogsend.clock import ManualClock
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.journeys.registry import Registry
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from tests.engine import scripts
from tests.engine.worker_process import ROOT
from tests.standins.hatchet import HatchetStandIn


@pytest.fixture
def hatchet(monkeypatch: pytest.MonkeyPatch) -> Iterator[HatchetStandIn]:
    for name in ("HOST_PORT", "SERVER_URL", "NAMESPACE"):
        monkeypatch.delenv(f"HATCHET_CLIENT_{name}", raising=False)
    monkeypatch.setenv("HATCHET_CLIENT_TLS_STRATEGY", "none")
    with HatchetStandIn() as standin:
        yield standin


@pytest.fixture
def on_hatchet(settings: Settings, hatchet: HatchetStandIn) -> Settings:
    return Settings.model_validate(
        {
            **settings.model_dump(),
            "hatchet_client_token": hatchet.token,
            "templates": [ROOT / "tests" / "templates"],
        }
    )


@pytest.fixture
async def runtime(on_hatchet: Settings, clock: ManualClock, clean: None) -> AsyncIterator[Runtime]:
    """On the stand-in, knowing the scripts."""
    registry = Registry([scripts.patient, scripts.brief, scripts.broken])
    async with open_runtime(on_hatchet, clock=clock, registry=registry, provider=MemoryProvider()) as runtime:
        yield runtime
