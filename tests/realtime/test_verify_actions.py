"""For each kind of activity: old lists + what the streams tell = a fresh read."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest

from hogsend.clock import ManualClock
from hogsend.emails.providers import ProviderRefused
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.engine.jobs import due_jobs, run_job
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from tests.driving import drive, rows
from tests.realtime.following import (
    AUDIT,
    DEAD_LETTERS,
    DECISIONS,
    EMAILS,
    EVENTS,
    RUNS,
    View,
    ask,
    verify_action,
)
from tests.standins.resend import WEBHOOK_SECRET, webhook
from worker.work import WORK

CANCEL = "mutation ($id: ID!) { journeyStateCancel(input: { id: $id }) { userErrors { code } } }"
KEY = "mutation ($name: String!) { apiKeyCreate(input: { name: $name, scopes: [READ] }) { userErrors { code } } }"
RETRY = "mutation ($id: ID!) { deadLetterRetry(input: { id: $id }) { userErrors { code } } }"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return Settings(**{**settings.model_dump(), "resend_webhook_secret": WEBHOOK_SECRET})


@dataclass
class World:
    """The public API, and what workers do."""

    client: httpx.AsyncClient
    runtime: Runtime
    clock: ManualClock

    async def ingest(self, name: str, who: str = "ada", **more: Any) -> None:
        body = {"name": name, "userId": who, "email": f"{who}@example.com", **more}
        answer = await self.client.post("/v1/events", json=body)
        assert answer.status_code == 202, answer.text

    async def work(self) -> None:
        """Advance what is due, deliver what is queued."""
        await drive(self.runtime)
        while due := await due_jobs(self.runtime, 50):
            for job_id in due:
                await run_job(self.runtime, WORK, job_id, "test")

    async def queue_email(self, who: str = "ada") -> None:
        body = {"to": f"{who}@example.com", "template": "welcome"}
        answer = await self.client.post("/v1/emails", json=body)
        assert answer.status_code == 202, answer.text

    async def send_email(self, who: str = "ada") -> None:
        await self.queue_email(who)
        await self.work()

    async def refuse_email(self) -> None:
        assert isinstance(self.runtime.provider, MemoryProvider)
        self.runtime.provider.faults.append(ProviderRefused("no such mailbox"))
        await self.send_email()

    async def provider_says(self, type: str, **data: Any) -> None:
        (email,) = await rows(self.runtime, "SELECT message_id FROM email_sends")
        body, headers = webhook(type, message_id=email.message_id, at=self.clock.wall(), **data)
        answer = await self.client.post("/v1/webhooks/email/resend", content=body, headers=headers)
        assert answer.status_code == 200, answer.text

    async def page(self) -> str:
        (email,) = await rows(self.runtime, "SELECT payload->>'html' AS html FROM email_sends")
        return str(email.html)

    async def visit(self, pattern: str) -> None:
        """Follow the first link of the only email that matches."""
        found = re.search(pattern, await self.page())
        assert found is not None
        await self.client.get(found[1].replace("&amp;", "&"))

    async def first(self, of: str) -> str:
        """The id of the first thing of a list."""
        return str(
            (await ask(self.client, f"{{ {of}(first: 1) {{ nodes {{ id }} }} }}"))[of]["nodes"][0]["id"]
        )


@pytest.fixture
def world(client: httpx.AsyncClient, runtime: Runtime, clock: ManualClock) -> World:
    return World(client, runtime, clock)


Act = Callable[[World], Awaitable[Any]]


async def sign_up(world: World) -> None:
    await world.ingest("user.signed_up")


async def be_welcomed(world: World) -> None:
    await sign_up(world)
    await world.work()


async def sleep_on(world: World) -> None:
    world.clock.advance(timedelta(days=2, minutes=1))
    await world.work()


async def leave(world: World) -> None:
    await world.ingest("account.deleted")


async def nothing(_world: World) -> None:
    """There is nothing to prepare."""


async def cancel(world: World) -> None:
    await ask(world.client, CANCEL, id=await world.first("journeyStates"))


async def fail_again(world: World) -> None:
    assert isinstance(world.runtime.provider, MemoryProvider)
    world.runtime.provider.faults.append(ProviderRefused("still no such mailbox"))
    await ask(world.client, RETRY, id=await world.first("deadLetters"))
    await world.work()


def says(type: str, **data: Any) -> Act:
    async def act(world: World) -> None:
        world.clock.advance(timedelta(seconds=1))
        await world.provider_says(type, **data)

    return act


BOUNCE = {"bounce": {"type": "Permanent", "subType": "General", "message": "No such mailbox"}}
ACTIONS: dict[str, tuple[Act, Act, tuple[View, ...]]] = {
    "event received": (nothing, lambda world: world.ingest("seen"), (EVENTS,)),
    "run entered": (nothing, sign_up, (EVENTS, RUNS, DECISIONS)),
    "run not entered": (be_welcomed, sign_up, (EVENTS, DECISIONS)),
    "run advanced": (sign_up, World.work, (RUNS, DECISIONS, EMAILS)),
    "run completed": (be_welcomed, sleep_on, (RUNS, DECISIONS, EMAILS)),
    "run exited": (be_welcomed, leave, (EVENTS, RUNS, DECISIONS)),
    "run cancelled": (be_welcomed, cancel, (RUNS, DECISIONS, AUDIT)),
    "email queued": (nothing, World.queue_email, (EMAILS,)),
    "email sent": (World.queue_email, World.work, (EMAILS,)),
    "email delivered": (World.send_email, says("email.delivered"), (EMAILS,)),
    "email bounced": (World.send_email, says("email.bounced", **BOUNCE), (EMAILS,)),
    "email complained": (World.send_email, says("email.complained"), (EMAILS,)),
    "email opened": (World.send_email, lambda world: world.visit(r'<img src="([^"]+)"[^>]*></body>'), (EMAILS,)),
    "email clicked": (World.send_email, lambda world: world.visit(r'href="([^"]+/v1/t/c/[^"]+)"'), (EMAILS,)),
    "dead letter added": (nothing, World.refuse_email, (DEAD_LETTERS, EMAILS)),
    "dead letter came back": (World.refuse_email, fail_again, (DEAD_LETTERS, AUDIT)),
    "mutation done": (nothing, lambda world: ask(world.client, KEY, name="ci"), (AUDIT,)),
    "mutation refused": (nothing, lambda world: ask(world.client, KEY, name=""), (AUDIT,)),
}  # fmt: skip


@pytest.mark.parametrize("what", ACTIONS)
async def test_streams_make_of_old_lists_what_a_fresh_read_shows(
    world: World, live_server: str, what: str
) -> None:
    prepare, act, changed = ACTIONS[what]
    await prepare(world)
    async with verify_action(world.client, live_server, *changed):
        await act(world)


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_same_under_concurrent_writers_with_reconnects(
    world: World, live_server: str, seed: int
) -> None:
    chance = random.Random(seed)
    people = [f"person-{number}" for number in range(12)]

    async def live(who: str) -> None:
        for name in ("seen", "user.signed_up", "seen", chance.choice(["account.deleted", "project.created"])):
            await asyncio.sleep(chance.random() * 0.1)
            await world.ingest(name, who)
            if chance.random() < 0.3:
                await world.queue_email(who)

    async def work_on(done: asyncio.Event) -> None:
        while not done.is_set():
            await world.work()
            await asyncio.sleep(0.02)
        await world.work()

    writers = [asyncio.create_task(live(who)) for who in people]
    await asyncio.sleep(0.1)
    changed = (EVENTS, RUNS, DECISIONS, EMAILS)
    async with verify_action(world.client, live_server, *changed, reconnects=chance):
        done = asyncio.Event()
        workers = [asyncio.create_task(work_on(done)) for _ in range(2)]
        await asyncio.gather(*writers)
        done.set()
        await asyncio.gather(*workers)
