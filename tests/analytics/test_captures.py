"""PostHog hears of every event, and whether it listens makes no difference to anybody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from hogsend import Context, User, journey
from hogsend.analytics.captures import Captures, PostHogUnavailable, capture_waiting
from hogsend.boot import open_runtime
from hogsend.clock import ManualClock
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.engine.embedded import EmbeddedEngine
from hogsend.engine.publisher import Publisher
from hogsend.events.event import NewEvent
from hogsend.ingestion.ingest import ingest
from hogsend.journeys.registry import Registry
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from tests.driving import drive, rows
from tests.fixtures.journeys import templates_of_tests
from tests.standins.http import Answer, Hold, Reset
from tests.standins.posthog import PostHogStandIn
from worker.work import SCHEDULE

ADA = "ada@example.com"


@journey(id="one-mail", trigger="signup")
async def one_mail(user: User, ctx: Context) -> None:
    await ctx.send("welcome")


@pytest.fixture
async def posthog() -> AsyncIterator[PostHogStandIn]:
    async with PostHogStandIn() as stand_in:
        yield stand_in


@pytest.fixture
async def telling(
    settings: Settings, clock: ManualClock, clean: None, posthog: PostHogStandIn
) -> AsyncIterator[Runtime]:
    changes = {"posthog_api_key": "phc_test", "posthog_host": posthog.url}
    mine = Settings(**{**settings.model_dump(), **changes})
    async with open_runtime(
        mine,
        clock=clock,
        registry=Registry([one_mail]),
        templates=templates_of_tests(),
        provider=MemoryProvider(),
    ) as runtime:
        yield runtime


async def event(runtime: Runtime, name: str = "signup", **values: Any) -> str:
    result = await ingest(runtime, NewEvent(name=name, **{"email": ADA, **values}))
    return str(result.event_id)


async def waiting(runtime: Runtime) -> int:
    found = await rows(
        runtime,
        "SELECT count(*) AS n FROM outbox WHERE topic = 'analytics.capture' AND published_at IS NULL",
    )
    return int(found[0].n)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_posthog_hears_who_did_what_and_when(
    telling: Runtime, posthog: PostHogStandIn, clock: ManualClock
) -> None:
    occurred = clock.now() - timedelta(hours=1)
    known = await event(telling, external_id="u1", properties={"plan": "pro"}, occurred_at=occurred)
    unknown = await event(telling, email=None, anonymous_id="anon-1")
    await event(telling, source="posthog")
    assert await telling.part(Captures).deliver_batch() == 2
    assert await telling.part(Captures).deliver_batch() == 0
    first, second = posthog.captured
    assert (first["event"], first["distinct_id"], first["uuid"]) == ("signup", "u1", known)
    assert first["properties"]["plan"] == "pro"
    assert first["properties"]["$set"] == {"email": ADA}
    assert first["timestamp"].startswith("2026-01-15T09:30:00")
    assert (second["distinct_id"], second["uuid"]) == ("anon-1", unknown)
    assert "$set" not in second["properties"]
    assert posthog.requests[0].json()["api_key"] == "phc_test"


async def test_a_posthog_that_hangs_delays_no_send(telling: Runtime, posthog: PostHogStandIn) -> None:
    answer_now = asyncio.Event()
    posthog.faults.append(Hold(answer_now))
    await event(telling, "before")
    telling.part(Captures).kick()
    await until(lambda: bool(posthog.requests))

    await event(telling)
    publisher = Publisher(telling, EmbeddedEngine(telling))
    while await publisher.publish_due():
        pass
    await drive(telling)
    provider = telling.provider
    assert isinstance(provider, MemoryProvider)
    assert len(provider.to(ADA)) == 1
    assert await waiting(telling) == 2

    answer_now.set()
    await until(lambda: len(posthog.captured) == 2)


@pytest.mark.parametrize("fault", [Reset(accepted=False), Answer(500), Answer(429), Answer(401)])
async def test_what_an_outage_held_back_is_told_after_it(
    telling: Runtime, posthog: PostHogStandIn, clock: ManualClock, fault: Any
) -> None:
    captures = telling.part(Captures)
    posthog.outage = fault
    ids = {await event(telling, name) for name in ("a", "b", "c")}
    for _ in range(3):
        with pytest.raises(PostHogUnavailable):
            await captures.deliver_batch()
    asked = len(posthog.requests)
    captures.kick()
    await asyncio.sleep(0)
    assert len(posthog.requests) == asked, "not before its pause is over"
    posthog.outage = None
    clock.advance(timedelta(minutes=6))
    captures.kick()
    await until(lambda: {each["uuid"] for each in posthog.captured} == ids)
    await until_told(telling)


async def until_told(runtime: Runtime) -> None:
    async with asyncio.timeout(10):
        while await waiting(runtime):
            await asyncio.sleep(0.01)


async def test_an_answer_that_is_lost_is_asked_for_again_under_the_same_ids(
    telling: Runtime, posthog: PostHogStandIn
) -> None:
    posthog.faults.append(Reset(accepted=True))
    event_id = await event(telling)
    with pytest.raises(PostHogUnavailable):
        await telling.part(Captures).deliver_batch()
    assert await telling.part(Captures).deliver_batch() == 1
    assert [each["uuid"] for each in posthog.captured] == [event_id, event_id]


async def test_one_event_that_is_refused_holds_up_no_other(telling: Runtime, posthog: PostHogStandIn) -> None:
    posthog.faults += [Answer(413), Answer(413)]
    ids = [await event(telling, name) for name in ("huge", "b", "c")]
    while await telling.part(Captures).deliver_batch():
        pass
    assert {each["uuid"] for each in posthog.captured} == set(ids[1:])
    given_up = await rows(
        telling, "SELECT payload, error FROM outbox WHERE error LIKE '%413' AND attempts = 1"
    )
    assert ids[0] in {row.payload["event_id"] for row in given_up}
    assert await waiting(telling) == 0


async def test_a_process_that_died_with_a_batch_loses_nothing(
    telling: Runtime, posthog: PostHogStandIn, clock: ManualClock
) -> None:
    await event(telling)
    captures = telling.part(Captures)
    assert len(await captures._claim()) == 1
    assert await captures.deliver_batch() == 0
    clock.advance(timedelta(seconds=61))
    assert await captures.deliver_batch() == 1
    assert len(posthog.captured) == 1


async def test_the_schedule_sees_to_it_and_forgets_what_is_too_old(
    telling: Runtime, posthog: PostHogStandIn, clock: ManualClock
) -> None:
    [cron] = [cron for cron in SCHEDULE if cron.run is capture_waiting]
    await event(telling, "old")
    clock.advance(timedelta(days=3, minutes=1))
    event_id = await event(telling, "new")
    await cron.run(telling)
    await until_told(telling)
    assert [each["uuid"] for each in posthog.captured] == [event_id]
