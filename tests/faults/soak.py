"""A deployment under a fixed rate of everything, measured from outside while it runs."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import psutil
from redis.asyncio import Redis

from tests.conftest import ADMIN_KEY
from tests.engine.worker_process import ROOT, ApiProcess, WorkerProcess
from tests.serving.socket import open_socket
from tests.standins.resend import API_KEY, ResendStandIn

# Two days of journey time in a second.
SPEED = 172_800.0
READS = (
    "{ journeys(first: 10) { nodes { id counts { active completed } } } }",
    "{ emails(first: 20) { totalCount nodes { id status contact { email } } } }",
    '{ contact(by: { externalId: "%s" }) { timeline(first: 20) { nodes { kind at cursor } } } }',
    "{ metrics { overview { totalContacts emailsSent24h } } }",
    "{ health { status } }",
)
STREAMS = (
    "subscription { eventReceived { cursor event { name } } }",
    "subscription { emailActivity { cursor activity email { templateKey } } }",
    "subscription { journeyActivity { cursor decision { kind reason } } }",
)


@dataclass(frozen=True)
class Sample:
    """What a moment costs. Memory is resident, in MiB; connections are those of both processes together."""

    second: float
    api_memory: float
    worker_memory: float
    api_files: int
    worker_files: int
    database: int
    redis: int
    events: int
    emails: int


class Deployment:
    """An API and a worker, as processes, on a stand-in for Resend."""

    def __init__(self, database_url: str, redis_url: str, resend: ResendStandIn) -> None:
        self.database_url = database_url
        self.redis_url = redis_url
        self.resend = resend
        environment = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "ADMIN_API_KEY": ADMIN_KEY,
            "RESEND_API_KEY": API_KEY,
            "RESEND_API_URL": resend.url,
            "HOGSEND_SECRET_KEY": "test-secret-key-that-is-long-enough",
            "HOGSEND_JOURNEYS": "tests.faults.soak_journeys",
            "HOGSEND_TEMPLATES": str(ROOT / "tests" / "templates"),
            "HOGSEND_SPEED": str(SPEED),
            "HOGSEND_RATE_LIMIT": "1000000",
            "HOGSEND_LOG_LEVEL": "warning",
        }
        self.api = ApiProcess(environment)
        self.worker = WorkerProcess(environment)

    async def started(self) -> None:
        """Start both; return when the API says that all is well, which the worker's heartbeat is part of."""
        self.worker.start()
        self.api.start()
        async with asyncio.timeout(60), httpx.AsyncClient(base_url=self.api.url) as http:
            while not await self._healthy(http):
                assert self.api.lives, self.api.output
                assert self.worker.lives, self.worker.output
                await asyncio.sleep(0.05)

    async def _healthy(self, http: httpx.AsyncClient) -> bool:
        try:
            return bool((await http.get("/v1/health")).json()["status"] == "healthy")
        except httpx.TransportError:
            return False

    def close(self) -> None:
        self.api.close()
        self.worker.close()


@asynccontextmanager
async def deployed(database_url: str, redis_url: str, clock: Any) -> AsyncIterator[Deployment]:
    async with AsyncExitStack() as stack:
        deployment = Deployment(
            database_url, redis_url, await stack.enter_async_context(ResendStandIn(clock))
        )
        stack.callback(deployment.close)
        await deployment.started()
        yield deployment


class Load:
    """Calls at a fixed rate. `keys` holds the idempotency key of every event that was answered with 202."""

    def __init__(self, deployment: Deployment, rate: float, seed: int = 5) -> None:
        self._deployment = deployment
        self._rate = rate
        self._chance = random.Random(seed)
        self.keys: set[str] = set()
        self.streamed = 0
        self._people = 0
        self._sent: list[dict[str, Any]] = []

    async def run(self, seconds: float) -> None:
        """Everything at once, for so long."""
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        async with (
            httpx.AsyncClient(base_url=self._deployment.api.url, headers=headers, timeout=30) as http,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(self._paced(seconds, 1 / self._rate, lambda: self._event(http)))
            group.create_task(self._paced(seconds, 2 / self._rate, lambda: self._read(http)))
            group.create_task(self._paced(seconds, 10 / self._rate, lambda: self._follow(http)))
            group.create_task(self._paced(seconds, 15 / self._rate, self._watch))

    async def _paced(self, seconds: float, pause: float, call: Any) -> None:
        """One call each `pause` seconds; where one takes longer the next begins at once."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        number = 0
        while (due := began + number * pause) < began + seconds:
            await asyncio.sleep(max(0.0, due - loop.time()))
            await call()
            number += 1

    async def _event(self, http: httpx.AsyncClient) -> None:
        body = self._next_event()
        answer = await http.post("/v1/events", json=body)
        assert answer.status_code == 202, answer.text
        assert answer.json()["stored"] == (body["idempotencyKey"] not in self.keys)
        self.keys.add(body["idempotencyKey"])
        self._sent.append(body)
        del self._sent[:-50]

    def _next_event(self) -> dict[str, Any]:
        what = self._chance.random()
        if what < 0.1 and self._sent:
            return self._chance.choice(self._sent)
        if what < 0.5 or not self._people:
            self._people += 1
            name, person = "soak.signup", self._people
        else:
            name = self._chance.choice(["soak.paid", "soak.left", "soak.used", "soak.signup"])
            person = self._chance.randint(max(1, self._people - 20), self._people)
        return {
            "name": name,
            "userId": f"u{person}",
            "email": f"u{person}@example.com",
            "eventProperties": {"plan": self._chance.choice(["free", "pro"])},
            "idempotencyKey": f"{name}-{person}-{self._chance.getrandbits(64):x}",
        }

    async def _read(self, http: httpx.AsyncClient) -> None:
        query = self._chance.choice(READS)
        if "%s" in query:
            query %= f"u{self._chance.randint(1, max(1, self._people))}"
        answer = await http.post("/graphql", json={"query": query})
        assert answer.status_code == 200 and "errors" not in answer.json(), answer.text

    async def _follow(self, http: httpx.AsyncClient) -> None:
        """A reader over SSE that takes three messages and hangs up."""
        body, headers = {"query": self._chance.choice(STREAMS)}, {"Accept": "text/event-stream"}
        async with http.stream("POST", "/graphql", json=body, headers=headers) as response:
            await self._take(line async for line in response.aiter_lines() if line.startswith("event: next"))

    async def _watch(self) -> None:
        """The same over a socket, with all the streams at once."""
        async with open_socket(self._deployment.api.url) as socket:
            await socket.init()
            for number, query in enumerate(STREAMS):
                await socket.subscribe(str(number), query)
            await self._take(message async for message in socket.raw if json.loads(message)["type"] == "next")

    async def _take(self, messages: AsyncIterator[Any]) -> None:
        """Three messages, or what comes within two seconds: nothing may be going on at the end."""
        try:
            async with asyncio.timeout(2):
                for _ in range(3):
                    await anext(messages)
                    self.streamed += 1
        except TimeoutError:
            pass
        finally:
            await messages.aclose()  # type: ignore[attr-defined]


async def sample(deployment: Deployment, load: Load, second: float) -> Sample:
    api, worker = psutil.Process(deployment.api.pid), psutil.Process(deployment.worker.pid)
    connection = await asyncpg.connect(deployment.database_url)
    try:
        of_ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name IN ('hogsend-api', 'hogsend-worker')"
        database = await connection.fetchval(of_ours + " AND datname = current_database()")
    finally:
        await connection.close()
    async with Redis.from_url(deployment.redis_url) as redis:
        clients = len(await redis.client_list()) - 1
    return Sample(
        round(second, 1),
        round(api.memory_info().rss / 2**20, 1),
        round(worker.memory_info().rss / 2**20, 1),
        api.num_fds(),
        worker.num_fds(),
        database,
        clients,
        len(load.keys),
        len(deployment.resend.accepted),
    )
