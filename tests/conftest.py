"""What every test can ask for.

    settings      this worker's own database and Valkey, the memory provider, the key ADMIN_KEY
    clock         a ManualClock; give it to what you test
    clean         empties the database and Valkey first (`runtime` asks for it)
    runtime       an open Runtime on `settings` and `clock`
    app, client   the ASGI application on `runtime`; an httpx client that holds ADMIN_KEY, and
                  holds every answer to the OpenAPI document
    live_server   the same application on a real port, for WebSockets and SSE: its base URL
    own_stack     a Postgres and a Valkey of the test's own, to stop and to kill

Each module of `tests/fixtures/` has those of one subject, for every folder: nobody imports a fixture.

One Postgres serves the whole run. The process that starts the run starts it, when it is first needed; xdist's
workers are told where it is, and each copies the migrated template.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import httpx
import pytest
import structlog
import uvicorn
from redis.asyncio import Redis

from hogsend.clock import ManualClock
from hogsend.settings import Settings
from hogsend.storage.embedded import EmbeddedStack
from tests.servers import RunServers, WorkerValkey, create_database, empty_database

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from hogsend.emails.templates.render import Templates
    from hogsend.journeys.registry import Registry
    from hogsend.runtime import Runtime

pytest_plugins = [
    "tests.longest_first",
    "tests.fixtures.emails",
    "tests.fixtures.graphql",
    "tests.fixtures.journeys",
]

ADMIN_KEY = "test-admin-key-long-enough"

_SERVERS = pytest.StashKey[RunServers]()


def pytest_configure() -> None:
    """Keep what this shell has set out of the tests; HATCHET_CLIENT_TOKEN is for those marked `hatchet`."""
    for name, field in Settings.model_fields.items():
        variable = (field.alias or name).upper()
        if variable != "HATCHET_CLIENT_TOKEN":
            os.environ.pop(variable, None)
    # Without compiled code to read, each xdist worker rewrites every assertion, and each process that a test starts
    # compiles the whole tree, anew.
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # gRPC's own work between fork and exec crashes the child where a stand-in for Hatchet has come and gone.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
    # The default renderer draws every local variable of a traceback, which takes seconds.
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, plain])


def pytest_collection_finish() -> None:
    """What is imported by now stays to the end: spare each full collection of garbage the walk through it."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Runs in the process that starts xdist's workers, once for each."""
    node.workerinput["postgres_url"] = _run_servers(node.config).postgres_url  # type: ignore[attr-defined]


def pytest_unconfigure(config: pytest.Config) -> None:
    if (servers := config.stash.get(_SERVERS, None)) is not None:
        servers.stop()


def _run_servers(config: pytest.Config) -> RunServers:
    if _SERVERS not in config.stash:
        config.stash[_SERVERS] = RunServers()
    return config.stash[_SERVERS]


@pytest.fixture(scope="session", autouse=True)
def warm() -> Iterator[None]:
    from tests.warm import kept_warm

    with kept_warm():
        yield


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> str:
    """The run's Postgres, as superuser, in the database `postgres`."""
    told: dict[str, str] = getattr(request.config, "workerinput", {})
    return told.get("postgres_url") or _run_servers(request.config).postgres_url


@pytest.fixture(scope="session")
def database_url(request: pytest.FixtureRequest, postgres_url: str) -> str:
    """This worker's own database, migrated."""
    told: dict[str, str] = getattr(request.config, "workerinput", {})
    return asyncio.run(create_database(postgres_url, f"test_{told.get('workerid', 'main')}"))


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """This worker's own Valkey."""
    valkey = WorkerValkey()
    yield valkey.url
    valkey.stop()


@pytest.fixture(scope="session")
def settings_of_worker(database_url: str, redis_url: str) -> Settings:
    return Settings(
        database_url=database_url,
        redis_url=redis_url,
        admin_api_key=ADMIN_KEY,
        secret_key="test-secret-key-that-is-long-enough",
        email_provider="memory",
        hatchet_client_token=None,
        public_url="http://hogsend.test",
        rate_limit=100_000,
    )


@pytest.fixture
def settings(settings_of_worker: Settings) -> Settings:
    return settings_of_worker.model_copy()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def clean(database_url: str, redis_url: str) -> None:
    await empty_database(database_url)
    async with Redis.from_url(redis_url) as redis:
        await redis.flushall()


@pytest.fixture(scope="session")
def shipped() -> tuple[Templates, Registry]:
    """The shipped templates and journeys, read once."""
    from hogsend.boot import load_project

    return load_project(Settings(database_url="postgresql://nowhere/none"))


@pytest.fixture
async def runtime(
    settings: Settings, clock: ManualClock, clean: None, shipped: tuple[Templates, Registry]
) -> AsyncIterator[Runtime]:
    from hogsend.boot import open_runtime

    templates, registry = shipped
    async with open_runtime(settings, clock=clock, templates=templates, registry=registry) as runtime:
        yield runtime


@pytest.fixture
def app(settings: Settings, runtime: Runtime) -> Starlette:
    from hogsend.app import create_app

    return create_app(settings, runtime)


@pytest.fixture
async def client(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    from tests.contract.conforming import conforms

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://hogsend.test",
        headers={"Authorization": f"Bearer {ADMIN_KEY}"},
        event_hooks={"response": [conforms]},
    ) as client:
        yield client


class _Uvicorn(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave Ctrl-C to pytest."""
        yield


@asynccontextmanager
async def served(app: Starlette, lifespan: Literal["on", "off"] = "off") -> AsyncIterator[str]:
    """The application on a real port: its base URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_config=None, lifespan=lifespan, timeout_graceful_shutdown=2)
        server = _Uvicorn(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await serving


@pytest.fixture
async def live_server(app: Starlette) -> AsyncIterator[str]:
    async with served(app) as url:
        yield url


@pytest.fixture
def own_stack() -> Iterator[EmbeddedStack]:
    with (
        tempfile.TemporaryDirectory(prefix="hogsend-tests-") as directory,
        EmbeddedStack(Path(directory), throwaway=True) as stack,
    ):
        yield stack
