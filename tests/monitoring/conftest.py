"""An application that serves its metrics to whoever has the key; what it remembers for a moment, it forgets at once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from hogsend import health
from hogsend.monitoring import backlog, exposition
from hogsend.settings import Settings
from tests.monitoring.figures import Figures, scrape

KEY = "a-metrics-key-that-is-long-enough"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return Settings.model_validate({**settings.model_dump(), "metrics_key": KEY})


@pytest.fixture(autouse=True)
def nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (health, exposition, backlog):
        monkeypatch.setattr(module, "FRESH_SECONDS", 0.0)


class Scraper:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def __call__(self) -> Figures:
        return await scrape(self._http, Authorization=f"Bearer {KEY}")


@pytest.fixture
async def figures(client: httpx.AsyncClient) -> AsyncIterator[Scraper]:
    yield Scraper(client)
