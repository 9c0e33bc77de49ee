"""One outage, seen by everybody at once: what each of them sees, in the words of `docs/outages.md`."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self
from uuid import uuid4

import httpx

from hogsend.app import create_app
from hogsend.events.event import NewEvent
from hogsend.ingestion.ingest import ingest
from hogsend.storage.stopping import stop
from tests.conftest import served
from tests.driving import rows
from tests.faults.site import Site, client_of, eventually, worker_of
from tests.standins.http import Hold
from tests.standins.proxy import Trouble

QUERY = "{ contacts(first: 5) { nodes { id email } } }"
CREATE = "mutation ($input: ContactCreateInput!) { contactCreate(input: $input) { contact { id } } }"
SEEN = 'subscription { eventReceived(filter: { name: "outage.seen" }) { cursor event { userId } } }'
LEAK = re.compile(
    r"Traceback|Errno|asyncpg|sqlalchemy|redis|grpc|httpx|127\.0\.0\.1|\w+Error\b", re.IGNORECASE
)


class Outage:
    """An open one lasts for the block, and is over when that ends; `after` asserts what must hold then."""

    def __init__(self, site: Site, dependency: str, trouble: Trouble) -> None:
        self._site = site
        self._dependency = dependency
        self._proxy = site.proxies[dependency]
        self._trouble = trouble
        self._mark = uuid4().hex[:8]
        self._answered = asyncio.Event()
        self._streamed: asyncio.Queue[str] = asyncio.Queue()
        self._reader: asyncio.Task[None] | None = None
        self._stack = AsyncExitStack()
        self._booted: list[str] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._proxy.make(None)
        await self._stack.aclose()

    async def during(self, expected_health: str, expected_ready: str) -> dict[str, str]:
        """What each one sees while `dependency` is in trouble."""
        await self._begin()
        await self._proxy.make(self._trouble)
        self._answered.set()
        boot, ingested, queried, mutated, health = await asyncio.gather(
            self._boot(), self._ingest(), self._query(), self._mutate(), self._health(expected_health)
        )
        return {
            "boot": boot,
            "ingest": ingested,
            "send": await self._send(),
            "query": queried,
            "mutation": mutated,
            "subscription": await self._subscription(),
            "`/v1/health`": health,
            "`/readyz`": await eventually(self._ready, lambda said: said == expected_ready),
        }

    async def after(self) -> None:
        """It is back: all is made up for, nothing is lost or done twice, nobody needed a restart."""
        await self._proxy.make(None)
        await asyncio.gather(*(self._site.healthy(url) for url in (self._site.url, *self._booted)))
        assert (await self._post_event("ingested")).status_code == 202
        assert await self._stored("ingested") == 1, "said again under its key, it is there once"
        made = await self._create()
        assert made.status_code == 200, made.text
        assert await self._site.count("contacts WHERE external_id = :id", id=self._named("made")) == 1
        for url in self._booted:
            async with client_of(url) as http:
                assert (await self._post_event("booted", http)).status_code == 202
        await self._streams()
        await self._sent_once()
        await self._told_posthog()
        assert self._reader is not None and not self._reader.done(), "the stream has ended"

    async def _begin(self) -> None:
        """A stream is open, and an email is on the wire, when it begins."""
        await self._stack.enter_async_context(self._reading())
        self._site.resend.faults.append(Hold(self._answered))
        calls = len(self._site.resend.requests)
        assert (await self._post_event("held", name="outage.asked")).status_code == 202

        async def on_the_wire() -> bool:
            return len(self._site.resend.requests) > calls

        assert await eventually(on_the_wire)

    async def _boot(self) -> str:
        """A second API and a second worker start now, and stay."""
        app = create_app(self._site.settings)
        url = await self._stack.enter_async_context(served(app, "on"))
        if self._site.process is None:
            await self._stack.enter_async_context(worker_of(self._site.settings))
        await self._site.health(url)
        self._booted.append(url)
        return "starts"

    async def _ingest(self) -> str:
        answer = await self._post_event("ingested")
        self._leaks_nothing(answer)
        stored = await self._stored("ingested")
        if answer.status_code == 202 and stored == 1:
            return "202"
        if answer.status_code == 503 and "Retry-After" in answer.headers and stored == 0:
            return "503, nothing stored"
        return f"{answer.status_code} {answer.text}, {stored} stored"

    async def _query(self) -> str:
        assert self._site.http is not None
        asked, read = await asyncio.gather(
            self._site.http.post("/graphql", json={"query": QUERY}),
            self._site.http.get("/v1/admin/contacts"),
        )
        for answer in (asked, read):
            self._leaks_nothing(answer)
        if "errors" not in asked.json() and read.status_code == 200:
            return "answers"
        if _unavailable(asked) and read.status_code == 503 and "Retry-After" in read.headers:
            return "503"
        return f"{asked.text} {read.status_code} {read.text}"

    async def _mutate(self) -> str:
        answer = await self._create()
        self._leaks_nothing(answer)
        made = await self._site.count("contacts WHERE external_id = :id", id=self._named("made"))
        if "errors" not in answer.json() and made == 1:
            return "happens"
        if _unavailable(answer) and made == 0:
            return "503, nothing done"
        return f"{answer.status_code} {answer.text}, {made} made"

    async def _ready(self) -> str:
        """What whoever sends requests here is told; that the process lives is told in any case."""
        async with client_of(self._site.url) as http:
            assert (await http.get("/livez")).status_code == 200
            return str((await http.get("/readyz")).status_code)

    async def _health(self, expected: str) -> str:
        """Named within a few looks: a worker's heartbeat may be of a moment ago."""
        return await eventually(self._site.health, lambda said: said == expected)

    async def _send(self) -> str:
        """The one on the wire and, where events are taken, one that begins now."""
        people = ["held"]
        if self._dependency != "Postgres":
            people.append("asked")
            assert (await self._post_event("asked", name="outage.asked")).status_code == 202
            await eventually(lambda: self._settled_or_put_off(people))
        recorded = len([who for who in people if await self._recorded(who)])
        if recorded == len(people):
            return "goes out"
        return "goes out once, recorded later" if self._dependency == "Postgres" else "goes out later, once"

    async def _settled_or_put_off(self, people: list[str]) -> bool:
        put_off = await self._site.count("email_sends WHERE error IS NOT NULL AND message_id IS NULL")
        unpublished = await self._site.count(
            "outbox WHERE topic LIKE 'run.%' AND error IS NOT NULL AND published_at IS NULL"
        )
        return bool(put_off or unpublished) or all([await self._recorded(who) for who in people])

    async def _subscription(self) -> str:
        """What happens meanwhile is told meanwhile, or at the latest when it is back."""
        seen = NewEvent(name="outage.seen", external_id=self._named("during"))
        await ingest(self._site.looking, seen)
        if self._dependency == "Postgres":
            return "stays open, catches up"  # that it does is seen in `after`
        async with asyncio.timeout(20):
            assert await self._streamed.get() == self._named("during")
        return "goes on"

    async def _streams(self) -> None:
        async with asyncio.timeout(20):
            if self._dependency == "Postgres":
                assert await self._streamed.get() == self._named("during")
            await ingest(self._site.looking, NewEvent(name="outage.seen", external_id=self._named("later")))
            assert await self._streamed.get() == self._named("later"), "nothing came twice"

    async def _sent_once(self) -> None:
        people = ["held"] if self._dependency == "Postgres" else ["held", "asked"]

        async def all_recorded() -> bool:
            return all([await self._recorded(who) for who in people])

        assert await eventually(all_recorded)
        for who in people:
            assert self._site.resend.sent_to[self._address(who)] == 1
        assert set(self._site.resend.by_key.values()) == {1}
        assert await self._site.count("dead_letters") == 0

    async def _told_posthog(self) -> None:
        async def all_told() -> bool:
            told = {each["uuid"] for each in self._site.posthog.captured}
            events = await rows(self._site.looking, "SELECT id::text AS id FROM user_events")
            return {event.id for event in events} <= told

        assert await eventually(all_told)

    async def _recorded(self, who: str) -> bool:
        sent = await self._site.count(
            "email_sends WHERE to_email = :to AND message_id IS NOT NULL", to=self._address(who)
        )
        return sent == 1

    async def _stored(self, who: str) -> int:
        return await self._site.count(
            "user_events e JOIN contacts c ON c.id = e.contact_id WHERE c.external_id = :id",
            id=self._named(who),
        )

    async def _post_event(
        self, who: str, http: httpx.AsyncClient | None = None, name: str = "outage.told"
    ) -> httpx.Response:
        client = http or self._site.http
        assert client is not None
        body = {
            "name": name,
            "userId": self._named(who),
            "email": self._address(who),
            "idempotencyKey": self._named(who),
        }
        return await client.post("/v1/events", json=body)

    async def _create(self) -> httpx.Response:
        assert self._site.http is not None
        variables = {"input": {"externalId": self._named("made")}}
        return await self._site.http.post("/graphql", json={"query": CREATE, "variables": variables})

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[None]:
        """Follow the stream, and keep who was in it. It must not end."""
        assert self._site.http is not None
        headers = {"Accept": "text/event-stream"}
        async with self._site.http.stream(
            "POST", "/graphql", json={"query": SEEN}, headers=headers, timeout=60
        ) as response:
            assert response.status_code == 200
            lines = response.aiter_lines()
            await anext(lines)
            reading = asyncio.create_task(self._read(lines))
            self._reader = reading
            try:
                yield
            finally:
                await stop(reading)

    async def _read(self, lines: AsyncIterator[str]) -> None:
        async for line in lines:
            data = line.removeprefix("data:").strip()
            if line.startswith("data:") and data:
                await self._streamed.put(json.loads(data)["data"]["eventReceived"]["event"]["userId"])

    def _named(self, who: str) -> str:
        return f"{who}-{self._mark}"

    def _address(self, who: str) -> str:
        return f"{self._named(who)}@example.com"

    def _leaks_nothing(self, answer: httpx.Response) -> None:
        assert LEAK.search(answer.text) is None, answer.text


def _unavailable(answer: httpx.Response) -> bool:
    body: dict[str, Any] = answer.json()
    if answer.status_code != 503 or "Retry-After" not in answer.headers:
        return False
    return [error["extensions"].get("retryAfter") for error in body.get("errors", [])] == [5]
