"""A contact's timeline: an old list + what `contactTimeline` tells = a fresh list, through merges too."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from hogsend.runtime import Runtime
from tests.driving import drive
from tests.realtime.following import Node, Rows, ask, comes_to, differing, receive
from tests.serving.socket import open_socket

ENTRY = """id at kind
    ... on EventReceived { event { id name } }
    ... on JourneyProgress { progress state { id } }
    ... on EmailActivity { activity email { id } }
    ... on DecisionMade { decision { kind reason } }"""
LIST = f"""query ($by: ContactBy!, $after: String) {{ contact(by: $by) {{ id timeline(first: 100, after: $after) {{
    nodes {{ {ENTRY} }} edges {{ node {{ cursor }} }} pageInfo {{ hasNextPage endCursor }} }} }} }}"""
BROUGHT = f"brought(first: 3, after: $more) {{ nodes {{ {ENTRY} }} pageInfo {{ hasNextPage endCursor }} }}"
STREAM = f"""subscription ($by: ContactBy!, $after: String, $types: [TimelineKind!], $more: String) {{
    told: contactTimeline(by: $by, after: $after, types: $types) {{
        cursor {ENTRY} ... on DecisionMade {{ merge: decision {{ id {BROUGHT} }} }} }} }}"""
MORE = f"query ($id: ID!, $more: String) {{ merge: node(id: $id) {{ ... on Decision {{ {BROUGHT} }} }} }}"
ADA = {"externalId": "ada"}


async def report(
    client: httpx.AsyncClient, name: str, user_id: str | None = None, email: str | None = None
) -> None:
    keys = {"userId": user_id, "email": email}
    body = {"name": name, **{key: value for key, value in keys.items() if value is not None}}
    answer = await client.post("/v1/events", json=body)
    assert answer.status_code == 202, answer.text


async def read(client: httpx.AsyncClient, by: dict[str, str]) -> tuple[Rows, str]:
    """The whole list by id, and the cursor from which a stream goes on behind it."""
    found: Rows = {}
    after = cursor = None
    while True:
        page = (await ask(client, LIST, by=by, after=after))["contact"]["timeline"]
        found |= {node["id"]: node for node in page["nodes"]}
        cursor = cursor or page["edges"][0]["node"]["cursor"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            return found, cursor


class Timeline:
    """One follower's copy of a contact's timeline."""

    def __init__(
        self, client: httpx.AsyncClient, url: str, by: dict[str, str], known: Rows, cursor: str
    ) -> None:
        self.known, self.cursor, self.told = known, cursor, list[str]()
        self._client = client
        self.stopping = asyncio.Event()
        self._url, self._by = url, by

    async def follow(self, chance: random.Random | None) -> None:
        while not self.stopping.is_set():
            async with open_socket(self._url) as socket:
                await socket.init()
                await socket.subscribe("1", STREAM, by=self._by, after=self.cursor)
                left = None if chance is None else chance.randint(1, 5)
                while left is None or left > 0:
                    message = await receive(socket, self.stopping)
                    if message is None:
                        return
                    assert message["type"] == "next", message
                    entry = message["payload"]["data"]["told"]
                    self.cursor = entry.pop("cursor")
                    await self._apply(entry)
                    left = None if left is None else left - 1

    async def _apply(self, entry: Node) -> None:
        """What a merge brought comes a page at a time, the first with the merge."""
        merge = entry.pop("merge", None)
        brought = None if merge is None else merge["brought"]
        while brought is not None:
            for node in brought["nodes"]:
                await self._apply(node)
            page = brought["pageInfo"]
            more = {"id": merge["id"], "more": page["endCursor"]} if page["hasNextPage"] else None
            brought = more and (await ask(self._client, MORE, **more))["merge"]["brought"]
        self.known[entry["id"]] = entry
        self.told.append(entry["id"])


@asynccontextmanager
async def verify_timeline(
    client: httpx.AsyncClient, url: str, *, reconnects: random.Random | None = None
) -> AsyncIterator[Timeline]:
    """Ada's old timeline and what is told within the block, each entry once, make the fresh one."""
    known, cursor = await read(client, ADA)
    timeline = Timeline(client, url, ADA, known, cursor)
    before = dict(known)
    following = asyncio.create_task(timeline.follow(reconnects))
    try:
        yield timeline
        fresh, _ = await read(client, ADA)
        await comes_to(lambda: timeline.known == fresh, following)
        assert differing(timeline.known, fresh) == {}
    finally:
        timeline.stopping.set()
        await following
    assert fresh != before
    assert sorted(timeline.told) == sorted(fresh.keys() - before.keys())


async def test_events_runs_emails_and_decisions(
    client: httpx.AsyncClient, runtime: Runtime, live_server: str
) -> None:
    await report(client, "seen", "ada", "ada@example.com")
    async with verify_timeline(client, live_server):
        await report(client, "user.signed_up", "ada")
        await drive(runtime)
        await report(client, "account.deleted", "ada")


async def test_what_a_merge_brings_is_told_once_each(
    client: httpx.AsyncClient, runtime: Runtime, live_server: str
) -> None:
    """The lead was welcomed and waits; it turns out to be Ada, who was welcomed too."""
    await report(client, "user.signed_up", email="lead@example.com")
    await report(client, "user.signed_up", "ada")
    await drive(runtime)
    async with verify_timeline(client, live_server) as timeline:
        await report(client, "seen", email="lead@example.com")
        await report(client, "seen", "ada")
        await report(client, "found.out", "ada", "lead@example.com")
        await report(client, "afterwards", "ada")
    names = [timeline.known[entry].get("event", {}).get("name") for entry in timeline.told]
    assert [name for name in names if name] == ["seen", "user.signed_up", "seen", "found.out", "afterwards"]


async def test_a_chain_of_merges(client: httpx.AsyncClient, runtime: Runtime, live_server: str) -> None:
    await report(client, "user.signed_up", email="first@example.com")
    await report(client, "user.signed_up", "ida", "second@example.com")
    await drive(runtime)
    await report(client, "user.signed_up", "ada")
    async with verify_timeline(client, live_server):
        await report(client, "both", "ida", "first@example.com")
        await report(client, "all", "ada", "first@example.com")
        await drive(runtime)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_merges_under_concurrent_writers_with_reconnects(
    client: httpx.AsyncClient, runtime: Runtime, live_server: str, seed: int
) -> None:
    chance = random.Random(seed)
    leads = [f"lead-{number}@example.com" for number in range(5)]
    await report(client, "begin", "ada")

    async def write(user_id: str | None, email: str | None) -> None:
        for number in range(6):
            await asyncio.sleep(chance.random() * 0.05)
            await report(client, chance.choice(["seen", "user.signed_up"]), user_id, email)
            if email is not None and number == 3:
                await report(client, "found.out", "ada", email)

    writers = asyncio.gather(write("ada", None), *(write(None, lead) for lead in leads))
    await asyncio.sleep(0.05)
    async with verify_timeline(client, live_server, reconnects=chance):
        await writers
        await drive(runtime)


async def test_merges_are_told_whatever_kinds_are_followed(
    client: httpx.AsyncClient, live_server: str
) -> None:
    await report(client, "user.signed_up", email="lead@example.com")
    await report(client, "seen", "ada")
    _, cursor = await read(client, ADA)
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("1", STREAM, by=ADA, after=cursor, types=["EVENT"])
        await report(client, "found.out", "ada", "lead@example.com")
        merge = (await socket.next("1"))["told"]["merge"]
        kinds = [node["kind"] for node in merge["brought"]["nodes"]]
        assert kinds == ["EVENT", "JOURNEY", "DECISION"]
        assert (await socket.next("1"))["told"]["event"]["name"] == "found.out"


async def test_who_follows_the_contact_that_lost_is_told_where_to_go(
    client: httpx.AsyncClient, live_server: str
) -> None:
    lead = {"email": "lead@example.com"}
    await report(client, "seen", email="lead@example.com")
    await report(client, "seen", "ada")
    _, cursor = await read(client, lead)
    ada: dict[str, Any] = (await ask(client, LIST, by=ADA))["contact"]
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("1", STREAM, by=lead, after=cursor)
        # It has begun when it tells something: who begins after the merge follows the one that is left.
        await report(client, "seen.again", email="lead@example.com")
        assert (await socket.next("1"))["told"]["event"]["name"] == "seen.again"
        await report(client, "found.out", "ada", "lead@example.com")
        answer = await socket.receive()
        assert answer["type"] == "error"
        assert answer["payload"][0]["extensions"] == {"code": "NOT_FOUND", "mergedInto": ada["id"]}
