"""`metricsChanged`: the current figures, then each change, and what it costs does not grow with who listens."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta
from typing import Any

import httpx
import pytest

from hogsend.clock import ManualClock
from hogsend.metrics import feed
from hogsend.metrics.feed import EVERY, MetricsFeed, Topic
from hogsend.realtime import bus
from hogsend.realtime.live import Live
from hogsend.runtime import Runtime
from tests.conftest import ADMIN_KEY
from tests.driving import drive
from tests.metrics.test_api import sign_up
from tests.serving.socket import Socket, open_socket

FIELDS = """
overview { totalContacts activeJourneys emailsSent24h bounceRate30d }
journeys { journeyId enrolled active completed }
emails { templateKey sent opened }
events { event date count }
"""
STREAM = (
    f"subscription ($topics: [MetricsTopic!]) {{ metricsChanged(topics: $topics) {{ changed {FIELDS} }} }}"
)
READ = f"""
{{ metrics {{ {
    FIELDS.replace("emails {", "emails(includeUntemplated: true) {").replace(
        "events {", 'events(from: "2026-01-15T00:00:00Z") {'
    )
} }} }}
"""


async def read(client: httpx.AsyncClient) -> dict[str, Any]:
    body = (await client.post("/graphql", json={"query": READ})).json()
    assert "errors" not in body
    metrics: dict[str, Any] = body["data"]["metrics"]
    return metrics


async def change(socket: Socket) -> tuple[list[str], dict[str, Any]]:
    message = (await socket.next("1"))["metricsChanged"]
    return message.pop("changed"), message


async def test_what_is_shown_first_and_streamed_is_what_a_fresh_read_shows(
    live_server: str, client: httpx.AsyncClient, runtime: Runtime
) -> None:
    await sign_up(client, "ada")
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("1", STREAM)
        changed, shown = await change(socket)
        assert changed == ["OVERVIEW", "JOURNEYS", "EMAILS", "EVENTS"]
        assert shown == await read(client)
        for user in ("bob", "cid"):
            await sign_up(client, user)
        await drive(runtime)
        wanted = await read(client)
        assert wanted["overview"]["emailsSent24h"] == 3
        while shown != wanted:
            changed, after = await change(socket)
            assert {name.upper() for name in after if after[name] != shown[name]} == set(changed) != set()
            shown = after


async def test_a_client_hears_what_it_asked_for_and_at_most_once_a_second(
    live_server: str, client: httpx.AsyncClient
) -> None:
    async with open_socket(live_server) as socket:
        await socket.init()
        await socket.subscribe("1", STREAM, topics=["EVENTS"])
        began = time.monotonic()
        changed, shown = await change(socket)
        assert (changed, shown["events"]) == (["EVENTS"], [])
        assert shown["overview"] is shown["journeys"] is shown["emails"] is None
        seen: list[int] = []
        for user in range(40):
            await sign_up(client, f"p{user}")
        while not seen or seen[-1] < 40:
            _, shown = await change(socket)
            seen.append(shown["events"][0]["count"])
        assert seen == sorted(set(seen))
        assert len(seen) <= (time.monotonic() - began) / EVERY


async def test_nothing_but_time_changes_figures_too_and_redis_may_be_away(
    runtime: Runtime, client: httpx.AsyncClient, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "POLL_WITHOUT", 0.05)
    monkeypatch.setattr(bus, "POLL_WITH_REDIS", 0.05)
    monkeypatch.setattr(bus, "CHANNEL", "nobody-says-anything-here")
    await sign_up(client, "ada")
    await drive(runtime)
    messages = runtime.part(MetricsFeed).follow([Topic.OVERVIEW])
    async with asyncio.timeout(10):
        assert (await anext(messages)).figures[Topic.OVERVIEW].emails_sent_24h == 1
        clock.advance(timedelta(days=2))
        assert (await anext(messages)).figures[Topic.OVERVIEW].emails_sent_24h == 0


async def test_figures_are_computed_once_for_all_who_listen_and_not_for_nobody(
    runtime: Runtime, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[Topic] = []

    async def counted(runtime: Runtime, conn: Any, topic: Topic) -> Any:
        computed.append(topic)
        return await measure(runtime, conn, topic)

    measure = feed.measure
    monkeypatch.setattr(feed, "measure", counted)
    part = runtime.part(MetricsFeed)
    listeners = [part.follow([Topic.EVENTS]) for _ in range(200)]
    async with asyncio.timeout(30):
        await asyncio.gather(*(anext(one) for one in listeners))
        assert len(computed) <= 3
        await sign_up(client, "ada")
        told = await asyncio.gather(*(anext(one) for one in listeners))
    assert all(one.figures[Topic.EVENTS] == told[0].figures[Topic.EVENTS] for one in told)
    assert len(computed) <= 10 and set(computed) == {Topic.EVENTS}
    for one in listeners:
        await one.aclose()  # type: ignore[attr-defined]
    assert part._publishing is None


async def test_a_stream_ends_when_the_process_does(runtime: Runtime) -> None:
    messages = runtime.part(MetricsFeed).follow([Topic.OVERVIEW])
    await anext(messages)
    waiting = asyncio.ensure_future(anext(messages))
    await asyncio.sleep(0)
    runtime.part(Live).draining.set()
    async with asyncio.timeout(10):
        with pytest.raises(StopAsyncIteration):
            await waiting


async def test_over_sse_too(live_server: str) -> None:
    headers = {"authorization": f"Bearer {ADMIN_KEY}", "accept": "text/event-stream"}
    request = {"query": STREAM, "variables": {"topics": ["OVERVIEW"]}}
    async with (
        httpx.AsyncClient(base_url=live_server, headers=headers, timeout=10) as http,
        http.stream("POST", "/graphql", json=request) as response,
    ):
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                break
        said = json.loads(line.removeprefix("data: "))["data"]["metricsChanged"]
    assert said["changed"] == ["OVERVIEW"]


async def test_to_follow_nothing_is_a_mistake(live_server: str) -> None:
    async with open_socket(live_server) as socket:
        await socket.init()
        for topics, sentence in (
            ([], "topics must name at least one of OVERVIEW, JOURNEYS, EMAILS, EVENTS"),
            (["NO_SUCH"], "Value 'NO_SUCH' does not exist in 'MetricsTopic' enum"),
        ):
            await socket.subscribe("1", STREAM, topics=topics)
            message = await socket.receive()
            assert message["type"] == "error"
            assert sentence in message["payload"][0]["message"]
