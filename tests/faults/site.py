"""An API and a worker, and between them and all that they stand on a proxy that can misbehave."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import httpx
import pytest

from hogsend.app import create_app
from hogsend.boot import open_runtime
from hogsend.clock import SystemClock
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from tests.conftest import ADMIN_KEY, served
from tests.driving import rows
from tests.engine.worker_process import ROOT, WorkerProcess
from tests.standins.hatchet import HatchetStandIn
from tests.standins.posthog import PostHogStandIn
from tests.standins.proxy import Proxy
from tests.standins.resend import API_KEY, ResendStandIn
from worker.main import embedded_worker

T = TypeVar("T")

PATIENCE = 60.0


async def eventually(look: Callable[[], Awaitable[T]], holds: Callable[[T], object] = bool) -> T:
    """What `look` finds once it `holds`, or at the end of our patience, for the caller to judge."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not holds(found := await look()) and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.02)
    return found


@dataclass
class Site:
    """`looking` goes around the proxies: it sees what is in the database, and is not part of what is tested."""

    settings: Settings
    proxies: dict[str, Proxy]
    looking: Runtime
    resend: ResendStandIn
    posthog: PostHogStandIn
    url: str = ""
    http: httpx.AsyncClient | None = None
    process: WorkerProcess | None = None

    async def count(self, sql: str, **values: Any) -> int:
        return int((await rows(self.looking, f"SELECT count(*) AS n FROM {sql}", **values))[0].n)

    async def health(self, url: str | None = None) -> str:
        """What is down, in words."""
        async with httpx.AsyncClient(base_url=url or self.url, timeout=PATIENCE) as http:
            answer = await http.get("/v1/health")
        assert answer.status_code == 200, answer.text
        down = [name for name, part in answer.json()["components"].items() if part["status"] == "down"]
        return f"{', '.join(down)}: down" if down else "all up"

    async def healthy(self, url: str | None = None) -> None:
        assert await eventually(lambda: self.health(url), lambda said: said == "all up") == "all up"


@asynccontextmanager
async def open_site(settings: Settings, hatchet: HatchetStandIn | None) -> AsyncIterator[Site]:
    """`settings` lead straight to Postgres and Valkey. With `hatchet` it is the engine, and the worker a process."""
    async with AsyncExitStack() as stack:
        resend = await stack.enter_async_context(ResendStandIn(SystemClock()))
        posthog = await stack.enter_async_context(PostHogStandIn())
        targets = {
            "Postgres": settings.database_url,
            "Redis": settings.redis_url,
            "Resend": resend.url,
            "PostHog": posthog.url,
        }
        if hatchet is not None:
            targets["Hatchet"] = f"http://127.0.0.1:{hatchet.port}"
        proxies = {name: await stack.enter_async_context(Proxy(target)) for name, target in targets.items()}
        if hatchet is not None:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setenv("HATCHET_CLIENT_HOST_PORT", proxies["Hatchet"].url.removeprefix("http://"))
            patch.setenv("HATCHET_CLIENT_TLS_STRATEGY", "none")
        site = Site(
            _behind(settings, proxies, hatchet),
            proxies,
            await stack.enter_async_context(open_runtime(_telling_posthog(settings))),
            resend,
            posthog,
        )
        if hatchet is None:
            await stack.enter_async_context(worker_of(site.settings))
        else:
            site.process = _process(site.settings, hatchet)
            stack.callback(site.process.close)
            site.process.start()
        site.url = await stack.enter_async_context(served(create_app(site.settings), "on"))
        site.http = await stack.enter_async_context(client_of(site.url))
        await site.healthy()
        yield site


def client_of(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {ADMIN_KEY}"}, timeout=PATIENCE)


@asynccontextmanager
async def worker_of(settings: Settings) -> AsyncIterator[Runtime]:
    """A worker on the embedded engine, in this process."""
    async with open_runtime(settings, application="hogsend-worker") as runtime:
        worker = embedded_worker(runtime)
        working = asyncio.create_task(worker.run(timedelta(seconds=1)))
        try:
            yield runtime
        finally:
            worker.stop()
            await working


def _telling_posthog(settings: Settings) -> Settings:
    return Settings.model_validate({**settings.model_dump(), "posthog_api_key": "phc_test"})


def _behind(settings: Settings, proxies: dict[str, Proxy], hatchet: HatchetStandIn | None) -> Settings:
    changes = {
        "database_url": proxies["Postgres"].url,
        "redis_url": proxies["Redis"].url,
        "email_provider": "resend",
        "resend_api_key": API_KEY,
        "resend_api_url": proxies["Resend"].url,
        "posthog_api_key": "phc_test",
        "posthog_host": proxies["PostHog"].url,
        "journeys": ["tests.faults.outage_journeys"],
        "templates": [ROOT / "tests" / "templates"],
        "hatchet_client_token": hatchet.token if hatchet is not None else None,
    }
    return Settings.model_validate({**settings.model_dump(), **changes})


def _process(settings: Settings, hatchet: HatchetStandIn) -> WorkerProcess:
    return WorkerProcess(
        {
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": settings.redis_url,
            "RESEND_API_KEY": API_KEY,
            "RESEND_API_URL": settings.resend_api_url,
            "HOGSEND_JOURNEYS": "tests.faults.outage_journeys",
            "HOGSEND_TEMPLATES": str(ROOT / "tests" / "templates"),
            "HATCHET_CLIENT_TOKEN": hatchet.token,
            "HATCHET_CLIENT_HOST_PORT": os.environ["HATCHET_CLIENT_HOST_PORT"],
            "HATCHET_CLIENT_TLS_STRATEGY": "none",
            "POSTHOG_API_KEY": "phc_test",
            "POSTHOG_HOST": settings.posthog_host,
        }
    )
