"""A Postgres that is there and does not get on: requests end, the pool comes back, what follows it lives on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.pool import QueuePool
from structlog.testing import capture_logs

from hogsend.app import create_app
from hogsend.boot import open_runtime
from hogsend.realtime import bus, hub, tailer
from hogsend.realtime.live import Live
from hogsend.rest import middleware, public
from hogsend.rest.middleware import TOO_LONG
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from hogsend.storage import database
from hogsend.storage.bounded_wait import at_most
from hogsend.storage.unreachable import AWAY
from tests.conftest import served
from tests.faults.site import client_of, eventually
from tests.realtime.test_timeline_stream import STREAM, snapshot, tell
from tests.serving.socket import open_socket
from tests.standins.proxy import Fault, Proxy, Slow

MORE_THAN_THE_POOL = 40


@pytest.fixture
async def proxy(settings: Settings, clean: None) -> AsyncIterator[Proxy]:
    async with Proxy(settings.database_url) as proxy:
        yield proxy


@pytest.fixture
async def runtime(
    settings: Settings, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Runtime]:
    monkeypatch.setattr(middleware, "LONGEST_REQUEST", 2.0)
    monkeypatch.setattr(database, "PING_SECONDS", 0.8)
    monkeypatch.setattr(database, "CONNECT_SECONDS", 2.0)
    monkeypatch.setattr(database, "POOL_SECONDS", 0.2)
    async with open_runtime(settings.model_copy(update={"database_url": proxy.url})) as runtime:
        yield runtime


@pytest.fixture
async def live_server(settings: Settings, runtime: Runtime) -> AsyncIterator[str]:
    async with served(create_app(settings, runtime)) as url:
        yield url


@pytest.fixture
async def client(live_server: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(live_server) as client:
        yield client


def pool_of(runtime: Runtime) -> QueuePool:
    pool = runtime.database.engine.pool
    assert isinstance(pool, QueuePool)
    return pool


async def given_back(runtime: Runtime) -> int:
    return pool_of(runtime).checkedout()


async def test_a_request_ends_however_many_slow_statements_it_has(
    client: httpx.AsyncClient, proxy: Proxy, runtime: Runtime
) -> None:
    """Each round trip alone is quick enough for a connection to count as alive."""
    await tell(client, "before")
    await proxy.make(Slow(0.4))
    answer = await client.post("/v1/events", json={"name": "slow", "userId": "ada", "idempotencyKey": "k"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.json()["error"] == TOO_LONG
    await proxy.make(None)
    again = await client.post("/v1/events", json={"name": "slow", "userId": "ada", "idempotencyKey": "k"})
    assert again.status_code == 202
    async with runtime.database.read() as conn:
        stored = await conn.execute(text("SELECT count(*) FROM user_events WHERE name = 'slow'"))
    assert stored.scalar_one() == 1
    assert await eventually(lambda: given_back(runtime), lambda out: out == 0) == 0


# Of a request that is cut off, fields that nobody had begun to wait for stay behind.
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <coroutine object GraphQLCoreConverter:pytest.PytestUnraisableExceptionWarning"
)
async def test_a_silent_postgres_uses_nothing_up(
    client: httpx.AsyncClient, proxy: Proxy, runtime: Runtime
) -> None:
    await asyncio.gather(*(tell(client, f"warm-{number}") for number in range(10)))
    await proxy.make(Fault.BLACKHOLE)
    asked = [client.get("/v1/admin/contacts") for _ in range(MORE_THAN_THE_POOL)]
    assert {answer.status_code for answer in await asyncio.gather(*asked)} == {503}
    await proxy.make(None)
    asked = [client.get("/v1/admin/contacts") for _ in range(5)]
    assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
    assert await eventually(lambda: given_back(runtime), lambda out: out == 0) == 0


@pytest.mark.parametrize("accept", ["application/graphql-response+json", "application/json"])
async def test_an_answer_that_only_the_database_has_is_503(
    client: httpx.AsyncClient, proxy: Proxy, accept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "LONGEST_REQUEST", 30.0)
    await tell(client, "before")
    create = 'mutation { contactCreate(input: {externalId: "ada"}) { contact { id } } }'

    async def ask(query: str) -> httpx.Response:
        return await client.post("/graphql", json={"query": query}, headers={"Accept": accept})

    assert (await ask("{ viewer { name } }")).status_code == 200
    await proxy.make(Fault.REFUSE)
    for query in ("{ contacts { nodes { id } } }", create):
        answer = await ask(query)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5"), answer.text
        assert answer.headers["content-type"].startswith(accept)
        (error,) = answer.json()["errors"]
        assert (error["message"], error["extensions"]["retryAfter"]) == (AWAY, 5)
        assert "data" not in answer.json()
    partial = await ask('{ __typename contact(by: { externalId: "ada" }) { id } }')
    assert (partial.status_code, partial.json()["data"]) == (200, {"__typename": "Query", "contact": None})


async def test_links_and_pixels_of_emails_wait_a_moment_for_a_silent_postgres(
    client: httpx.AsyncClient, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "LONGEST_REQUEST", 60.0)
    monkeypatch.setattr(database, "PING_SECONDS", 60.0)
    monkeypatch.setattr(public, "LONGEST_WAIT", 0.3)
    await tell(client, "before")
    await proxy.make(Fault.BLACKHOLE)
    link = await client.get(f"/v1/t/c/{uuid4()}")
    assert (link.status_code, link.headers["Retry-After"], "location" in link.headers) == (503, "5", False)
    assert "Try again in a moment" in link.text
    pixel = await client.get(f"/v1/t/o/{uuid4()}")
    assert (pixel.status_code, pixel.content) == (200, public.PIXEL)


async def test_a_wait_that_is_given_up_is_not_waited_for() -> None:
    """A cancelled statement takes its time to say goodbye."""
    ended = asyncio.Event()

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.wait_for(ended.wait(), 20)

    with pytest.raises(TimeoutError):
        await at_most(0.01, slow())
    assert not ended.is_set()
    ended.set()


async def test_streams_and_their_tailer_outlive_a_pool_that_is_used_up(
    live_server: str,
    client: httpx.AsyncClient,
    runtime: Runtime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bus, "POLL_WITH_REDIS", 0.1)
    monkeypatch.setattr(tailer, "RETRY", 0.1)
    monkeypatch.setattr(hub, "RETRY", 0.1)
    await tell(client, "begin")
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("1", STREAM, after=(await snapshot(client))[0]["cursor"])

        async def listening() -> bool:
            return bool(runtime.part(Live).hub._feeds)

        assert await eventually(listening)
        with capture_logs() as logs:
            async with AsyncExitStack() as all_of_them:
                await _take_all(runtime, all_of_them)

                async def noticed() -> bool:
                    return "realtime_reader_retries" in {entry["event"] for entry in logs}

                assert await eventually(noticed), logs
        await tell(client, "later")
        assert (await socket.next("1"))["contactTimeline"]["event"]["name"] == "later"
        assert not any(task.done() for task in runtime.part(Live)._tasks)


async def _take_all(runtime: Runtime, stack: AsyncExitStack) -> None:
    """Hold every connection that others do not hold for good: until none came back while we waited for one."""
    while True:
        try:
            await stack.enter_async_context(runtime.database.streams.connect())
        except NoConnectionFree:
            return
        except TimeoutError:
            continue  # a slow machine: it could not be opened in time
