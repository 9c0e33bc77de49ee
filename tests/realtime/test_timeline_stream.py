"""`contactTimeline` as its readers see it: nothing missed, nothing twice, over sockets and over SSE."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from hogsend.decisions.ledger import NewDecision, record_decision
from hogsend.decisions.reasons import DecisionKind, Reason
from hogsend.realtime import bus
from hogsend.realtime.cursor import StreamCursor
from hogsend.realtime.live import Live
from hogsend.runtime import Runtime
from hogsend.serving import subscriber, ws
from hogsend.serving.subscriber import StreamMessage
from tests.conftest import ADMIN_KEY
from tests.driving import drive
from tests.serving.socket import open_socket

STREAM = """
subscription ($after: String, $types: [TimelineKind!]) {
  contactTimeline(by: { externalId: "ada" }, after: $after, types: $types) {
    id kind cursor
    ... on EventReceived { event { name } }
    ... on JourneyProgress { progress }
    ... on EmailActivity { activity }
    ... on DecisionMade { decision { reason } }
  }
}
"""
SNAPSHOT = '{ contact(by: { externalId: "ada" }) { timeline(first: 100) { nodes { id cursor } } } }'


async def tell(client: httpx.AsyncClient, name: str) -> None:
    response = await client.post(
        "/v1/events", json={"name": name, "userId": "ada", "email": "ada@example.com"}
    )
    assert response.status_code == 202, response.text


async def snapshot(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Newest first."""
    body = (await client.post("/graphql", json={"query": SNAPSHOT})).json()
    nodes: list[dict[str, Any]] = body["data"]["contact"]["timeline"]["nodes"]
    return nodes


async def test_the_stream_goes_on_where_the_list_was_read(
    live_server: str, client: httpx.AsyncClient, runtime: Runtime
) -> None:
    await tell(client, "seen")
    before = await snapshot(client)
    await tell(client, "user.signed_up")
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("1", STREAM, after=before[0]["cursor"])
        first = [(await socket.next("1"))["contactTimeline"] for _ in range(3)]
        assert {entry["kind"] for entry in first} == {"EVENT", "JOURNEY", "DECISION"}
        await drive(runtime)
        live: list[dict[str, Any]] = []
        while not any(entry.get("activity") == "SENT" for entry in live):
            live.append((await socket.next("1"))["contactTimeline"])
    streamed = [entry["id"] for entry in first + live]
    assert len(set(streamed)) == len(streamed)
    fresh = {entry["id"] for entry in await snapshot(client)}
    assert {entry["id"] for entry in before} | set(streamed) <= fresh


async def test_only_the_kinds_that_were_asked_for(live_server: str, client: httpx.AsyncClient) -> None:
    await tell(client, "seen")
    cursor = (await snapshot(client))[0]["cursor"]
    await tell(client, "user.signed_up")
    await tell(client, "last")
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("1", STREAM, after=cursor, types=["EVENT"])
        names = [(await socket.next("1"))["contactTimeline"]["event"]["name"] for _ in range(2)]
        assert names == ["user.signed_up", "last"]


async def test_reconnecting_at_any_point_misses_nothing_and_repeats_nothing(
    live_server: str, client: httpx.AsyncClient
) -> None:
    await tell(client, "begin")
    cursor = (await snapshot(client))[0]["cursor"]
    chance = random.Random(7)
    names = [f"event-{number}" for number in range(30)]

    async def telling() -> None:
        for name in names:
            await tell(client, name)

    seen: list[str] = []
    teller = asyncio.create_task(telling())
    while len(seen) < len(names):
        async with open_socket(live_server) as socket:
            await socket.init()
            await socket.subscribe("1", STREAM, after=cursor, types=["EVENT"])
            for _ in range(min(chance.randint(1, 6), len(names) - len(seen))):
                entry = (await socket.next("1"))["contactTimeline"]
                cursor = entry["cursor"]
                seen.append(entry["event"]["name"])
    await teller
    assert seen == names


async def test_a_transaction_that_began_first_and_commits_last_is_not_skipped(
    live_server: str, client: httpx.AsyncClient, runtime: Runtime
) -> None:
    await tell(client, "begin")
    cursor = (await snapshot(client))[0]["cursor"]
    async with runtime.database.engine.connect() as slow:
        contact = (await slow.execute(text("SELECT id FROM contacts"))).scalar_one()
        row = "INSERT INTO activity (at, kind, type, ref_id, contact_id) VALUES (now(), 'state', 'entered', :id, :id)"
        await slow.execute(text(row), {"id": contact})
        await tell(client, "quick")
        async with open_socket(live_server) as socket:
            await socket.init()
            await socket.subscribe("1", STREAM, after=cursor)
            kinds = [(await socket.next("1"))["contactTimeline"]["kind"]]
            await slow.commit()
            kinds.append((await socket.next("1"))["contactTimeline"]["kind"])
    assert kinds == ["EVENT", "JOURNEY"]


async def test_a_bad_cursor_is_refused(live_server: str, client: httpx.AsyncClient) -> None:
    await tell(client, "begin")
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("1", STREAM, after="nonsense")
        answer = await socket.receive()
        assert answer["type"] == "error"
        assert answer["payload"][0]["extensions"] == {"code": "INVALID_CURSOR", "field": "after"}


async def test_a_cursor_into_forgotten_activity_ends_the_stream_with_a_sentence(
    client: httpx.AsyncClient, live_server: str, runtime: Runtime
) -> None:
    async with runtime.database.transaction() as conn:
        await conn.execute(text("INSERT INTO activity_horizon VALUES (1, 7)"))
    await tell(client, "begin")
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("1", STREAM, after=StreamCursor(3).encode())
        answer = await socket.receive()
        assert answer["type"] == "error"
        assert answer["payload"][0]["message"].startswith("after is older than the activity that is kept")
        assert answer["payload"][0]["extensions"] == {"code": "INVALID_CURSOR", "field": "after"}


async def test_a_process_that_stops_says_where_to_go_on(
    live_server: str, client: httpx.AsyncClient, runtime: Runtime
) -> None:
    await tell(client, "begin")
    cursor = (await snapshot(client))[0]["cursor"]
    await tell(client, "next")
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("1", STREAM, after=cursor)
        last = (await socket.next("1"))["contactTimeline"]["cursor"]
        runtime.part(Live).draining.set()
        answer = await socket.receive()
        assert answer["type"] == "error"
        assert answer["payload"][0]["extensions"] == {"code": "GOING_AWAY", "cursor": last}
        assert (await socket.closed())[0] == 1001


async def test_a_reader_that_takes_nothing_is_sent_away_with_its_cursor(
    live_server: str, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle is the code and the reason; how much the kernel buffers is not ours to say."""
    await tell(client, "begin")
    cursor = (await snapshot(client))[0]["cursor"]
    await tell(client, "next")

    async def stuck(self: ws._Operation, message: StreamMessage) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(subscriber, "SEND_SECONDS", 0.05)
    monkeypatch.setattr(ws._Operation, "next", stuck)
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("1", STREAM, after=cursor)
        assert await socket.closed() == (1013, f"SLOW_CONSUMER {cursor}"[:120])


@asynccontextmanager
async def events(
    base_url: str, *, key: str = ADMIN_KEY, last_event_id: str | None = None, **variables: Any
) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
    """The (event, data) pairs of one SSE response."""
    headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {key}"}
    if last_event_id is not None:
        headers["Last-Event-ID"] = last_event_id
    async with (
        httpx.AsyncClient(base_url=base_url, timeout=10) as http,
        http.stream(
            "POST", "/graphql", json={"query": STREAM, "variables": variables}, headers=headers
        ) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")

        async def pairs() -> AsyncIterator[tuple[str, Any]]:
            name = ""
            async for line in response.aiter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data:"):
                    data = line.removeprefix("data:").strip()
                    yield name, json.loads(data) if data else None

        yield pairs()


async def test_the_same_over_sse(live_server: str, client: httpx.AsyncClient, runtime: Runtime) -> None:
    await tell(client, "begin")
    cursor = (await snapshot(client))[0]["cursor"]
    await tell(client, "next")
    async with events(live_server, after=cursor) as stream:
        name, data = await anext(stream)
        assert (name, data["data"]["contactTimeline"]["event"]["name"]) == ("next", "next")
        await tell(client, "later")
        name, data = await anext(stream)
        assert data["data"]["contactTimeline"]["event"]["name"] == "later"
        last = data["data"]["contactTimeline"]["cursor"]
        runtime.part(Live).draining.set()
        name, data = await anext(stream)
        assert data["errors"][0]["extensions"] == {"code": "GOING_AWAY", "cursor": last}
        assert await anext(stream) == ("complete", None)


async def test_sse_answers_a_query_and_completes(client: httpx.AsyncClient) -> None:
    response = await client.post(
        "/graphql", json={"query": "{ viewer { name } }"}, headers={"Accept": "text/event-stream"}
    )
    first, second = response.text.strip().split("\n\n")
    assert json.loads(first.removeprefix("event: next\ndata: "))["data"] == {"viewer": {"name": "legacy"}}
    assert second == "event: complete\ndata:"


async def test_a_subscription_that_cannot_begin_is_a_plain_refusal(client: httpx.AsyncClient) -> None:
    sse = {"Accept": "text/event-stream"}
    unknown = await client.post("/graphql", json={"query": STREAM}, headers=sse)
    assert (unknown.status_code, unknown.json()["errors"][0]["message"]) == (422, "Contact not found")
    plain = await client.post("/graphql", json={"query": STREAM})
    assert plain.status_code == 406


async def test_a_lost_wake_up_costs_latency_only(
    live_server: str, client: httpx.AsyncClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tell(client, "begin")
    live = runtime.part(Live)

    async def lost(*_: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(live.hub.bus, "publish", lost)
    monkeypatch.setattr(bus, "POLL_WITH_REDIS", 0.2)
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("1", STREAM, after=(await snapshot(client))[0]["cursor"])
        await tell(client, "later")
        assert (await socket.next("1"))["contactTimeline"]["event"]["name"] == "later"


async def test_news_of_emails_journeys_and_events(
    live_server: str, client: httpx.AsyncClient, runtime: Runtime
) -> None:
    await tell(client, "begin")
    cursor = (await snapshot(client))[0]["cursor"]
    await tell(client, "user.signed_up")
    await tell(client, "other")
    await drive(runtime)
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe(
            "emails",
            "subscription ($after: String) { emailActivity(after: $after, filter: { types: [SENT] })"
            " { cursor activity email { templateKey } } }",
            after=cursor,
        )
        sent = (await socket.next("emails"))["emailActivity"]
        assert (sent["activity"], sent["email"]) == ("SENT", {"templateKey": "welcome"})
        await socket.subscribe(
            "journeys",
            'subscription ($after: String) { journeyActivity(after: $after, journeyId: "activation-welcome")'
            " { cursor decision { kind } } }",
            after=cursor,
        )
        assert (await socket.next("journeys"))["journeyActivity"]["decision"] == {"kind": "ENROLLED"}
        await socket.send(id="journeys", type="complete")
        await socket.subscribe(
            "events",
            'subscription ($after: String) { eventReceived(after: $after, filter: { name: "other", userId: "ada" })'
            " { cursor event { name } } }",
            after=cursor,
        )
        while (message := await socket.receive())["id"] != "events":
            assert message["id"] == "journeys"
        assert message["payload"]["data"]["eventReceived"]["event"] == {"name": "other"}


async def test_activity_of_a_journey_that_nobody_knows_is_not_found(
    live_server: str, client: httpx.AsyncClient, runtime: Runtime
) -> None:
    await tell(client, "begin")
    cursor = (await snapshot(client))[0]["cursor"]
    follow = (
        "subscription ($journey: ID, $after: String)"
        " { journeyActivity(journeyId: $journey, after: $after) { decision { journeyId } } }"
    )
    async with open_socket(live_server) as socket:
        await socket.init()
        for name in ("journey_nope", "nope", "contact_nope"):
            await socket.subscribe(name, follow, journey=name)
            refused = await socket.receive()
            assert (refused["id"], refused["type"]) == (name, "error")
            assert refused["payload"][0]["extensions"]["code"] == "NOT_FOUND"
        gone = NewDecision(
            kind=DecisionKind.ENROLLED,
            reason=Reason.TRIGGER_MATCHED,
            contact_id=None,
            journey_id="gone-from-code",
        )
        async with runtime.database.transaction() as conn:
            await record_decision(conn, runtime.clock.now(), gone)
        await socket.subscribe("gone", follow, journey="journey_gone-from-code", after=cursor)
        said = await socket.next("gone")
        assert said["journeyActivity"]["decision"]["journeyId"] == "gone-from-code"
