"""The rehearsal and the runner agree: random journeys, random lives, in memory and on Postgres, one journal.

A life has events, an outage of the provider, templates that it refuses, emails that bounce, and opt-outs.
HOGSEND_PARITY_CASES raises the number of lives.
"""

from __future__ import annotations

import heapq
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from hogsend import Context, Journey, User, hours, journey, minutes, on, prop
from hogsend.boot import open_runtime
from hogsend.clock import ManualClock
from hogsend.consent.suppression import unsubscribe
from hogsend.emails.providers import Message, ProviderRefused, TryLater
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.emails.sending.job import sweep_sends
from hogsend.emails.tracking.delivery_events import record_fact
from hogsend.journeys.registry import Registry
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from hogsend.tables.emails import email_sends
from hogsend.tables.journeys import journey_states, journey_steps
from hogsend.testing import Rehearsal, after, bounced, down, refused, rehearse_async, unsubscribed
from hogsend.testing.script import Engages, EventHappens, Happening, Outage, ProviderRefuses, Unsubscribes
from tests.driving import drive, drive_to_end, next_wake, send_event

TEMPLATES = Path(__file__).parent.parent / "templates"
CASES = int(os.environ.get("HOGSEND_PARITY_CASES", "30"))

Taken = list[tuple[str, Any]]
Sent = tuple[str, str, str | None, datetime]


def random_journey(number: int) -> Journey:
    """A journey that takes the same random steps each time that it is run."""

    @journey(id=f"random-{number}", trigger=f"start-{number}", exit_on=on("stop", where=prop("n") > 1))
    async def run(user: User, ctx: Context) -> None:
        dice = random.Random(number)
        for _ in range(dice.randint(3, 8)):
            await _step(dice, ctx)

    return run


async def _step(dice: random.Random, ctx: Context) -> None:
    span = hours(dice.choice([1, 5, 12, 24, 30]))
    where = dice.choice([None, prop("n") > 2, {"n": 1}])
    match dice.randint(0, 11):
        case 0 | 9 | 10 | 11:
            category = dice.choice([None, "news", "transactional"])
            props = {"n": dice.randint(0, 3)}
            sent = await ctx.send(dice.choice(["welcome", "nudge"]), props=props, category=category)
            await ctx.checkpoint(f"{sent.status} {sent.reason}")
        case 1:
            await ctx.sleep(span)
        case 2 | 3:
            found = await ctx.wait_for_event(dice.choice("ab"), timeout=span, where=where)
            await ctx.checkpoint("timed out" if found.timed_out else f"got {found.properties.get('n')}")
        case 4:
            collected = await ctx.digest(dice.choice("ab"), window=span, where=where)
            await ctx.checkpoint(f"collected {len(collected)}")
        case 5:
            seen = await ctx.history.has_event(
                dice.choice("ab"), within=dice.choice([None, span]), where=where
            )
            await ctx.checkpoint(f"seen {seen}")
        case 6:
            await ctx.trigger(dice.choice(["a", "stop"]), {"n": dice.randint(0, 2)})
        case 7:
            await ctx.checkpoint(f"room {await ctx.throttle(limit=1, per=span)}")
        case _:
            await ctx.checkpoint(f"at {(await ctx.now()).isoformat()} {await ctx.variant('arm', ['x', 'y'])}")


@cache
def random_life(number: int) -> list[Happening]:
    """What happens falls on the edges of windows as often as between them; no two at one instant."""
    dice = random.Random(-number)
    moments = sorted(dice.sample([0.5, 1, 2, 5, 6, 12, 13, 24, 30, 36, 48], dice.randint(0, 8)))
    life: list[Happening] = []
    for at in moments:
        name = dice.choices(["a", "b", "stop", "no more"], weights=[12, 6, 3, 2])[0]
        if name == "no more":
            life.append(unsubscribed(hours(at), dice.choice([None, "news"])))
        else:
            life.append(after(hours(at), name, {"n": dice.randint(0, 3)}))
    if dice.random() < 0.3:
        life.append(down(hours(dice.choice([0, 0, 1, 11])), lasting=hours(dice.choice([0.1, 0.1, 1]))))
    if dice.random() < 0.2:
        life.append(refused(dice.choice(["welcome", "nudge"]), times=dice.choice([None, 1])))
    if dice.random() < 0.4:
        life.append(bounced(dice.choice(["welcome", "nudge"]), minutes(dice.choice([7, 70]))))
    return life


class Troubled(MemoryProvider):
    """Is down for whom the script says so, and refuses what it says; tells when what it took bounces."""

    def __init__(self, clock: ManualClock, tell: Callable[[timedelta, UUID], None]) -> None:
        super().__init__()
        self.clock, self.start, self.tell = clock, clock.now(), tell
        self.refused: Counter[tuple[str, str]] = Counter()

    async def send(self, message: Message, *, idempotency_key: str) -> str:
        template = message.tags["template"]
        life = random_life(int(message.to.partition("@")[0].removeprefix("person-")))
        for one in life:
            if isinstance(one, Outage) and one.at <= self.clock.now() - self.start < one.at + one.lasting:
                raise TryLater("503")
        for one in life:
            if isinstance(one, ProviderRefuses) and one.template == template:
                self.refused[message.to, template] += 1
                if one.times is None or self.refused[message.to, template] <= one.times:
                    raise ProviderRefused("422")
        taken = await super().send(message, idempotency_key=idempotency_key)
        for one in life:
            if isinstance(one, Engages) and one.template == template:
                self.tell(self.clock.now() - self.start + one.delay, UUID(message.tags["email_id"]))
        return taken


class Lives:
    """Everybody's life at once, on one clock."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.start = clock, clock.now()
        self.provider = Troubled(clock, lambda at, email_id: self.add(at, email_id))
        self.contacts: dict[int, UUID] = {}
        self._due: list[tuple[timedelta, int, Any]] = []
        self._order = count()

    def add(self, at: timedelta, what: Any) -> None:
        heapq.heappush(self._due, (at, next(self._order), what))

    async def live(self, runtime: Runtime) -> None:
        for number in range(CASES):
            taken = await send_event(runtime, f"start-{number}", email=_email(number))
            self.contacts[number] = taken.contact_id
            for one in random_life(number):
                if isinstance(one, EventHappens | Unsubscribes):
                    self.add(one.at, (number, one))
        await drive(runtime)
        while self._due:
            at = self._due[0][0]
            upcoming = await next_wake(runtime)
            if upcoming is not None and upcoming < self.start + at:
                self.clock.set(upcoming)
            else:
                self.clock.set(self.start + at)
                while self._due and self._due[0][0] == at:
                    await self._happen(runtime, heapq.heappop(self._due)[2])
            await drive(runtime)
        await drive_to_end(runtime, self.clock)
        await sweep_sends(runtime)

    async def _happen(self, runtime: Runtime, what: Any) -> None:
        match what:
            case UUID():
                async with runtime.database.transaction() as conn:
                    await record_fact(conn, email_id=what, type="bounced", at=self.clock.now())
            case (number, EventHappens(event=event, properties=properties)):
                await send_event(runtime, event, email=_email(number), **properties)
            case (number, Unsubscribes(category=category)):
                async with runtime.database.transaction() as conn:
                    contact_id = self.contacts[number]
                    await unsubscribe(conn, runtime.clock, contact_id, category=category, source="test")


@pytest.fixture
def lives(clock: ManualClock) -> Lives:
    return Lives(clock)


@pytest.fixture
async def world(settings: Settings, lives: Lives, clean: None) -> AsyncIterator[Runtime]:
    mine = settings.model_copy(update={"templates": [TEMPLATES]})
    registry = Registry(random_journey(number) for number in range(CASES))
    async with open_runtime(mine, clock=lives.clock, registry=registry, provider=lives.provider) as runtime:
        yield runtime


async def test_random_journeys_take_the_same_steps_in_memory_and_on_postgres(
    world: Runtime, lives: Lives
) -> None:
    await lives.live(world)
    outcomes: Counter[str] = Counter()
    for number in range(CASES):
        contact_id, status, taken, emails = await _outcome(world, number)
        run = await rehearse_async(
            random_journey(number),
            user={"id": contact_id, "email": _email(number)},
            happens=random_life(number),
            starts=lives.start,
            templates=TEMPLATES,
        )
        told = f"journey {number}, life {random_life(number)}"
        assert (run.status, _steps(run)) == (status, taken), told
        assert [(one.template, one.status, one.reason, one.at) for one in run.emails] == emails, told
        outcomes.update([status, *(f"{one[1]} {one[2]}" for one in emails)])
    assert set(outcomes) >= {"completed", "exited", "sent None", "failed provider_refused"}, outcomes
    assert set(outcomes) >= {"suppressed address_bounced", "suppressed unsubscribed_from_all"}, outcomes


async def _outcome(runtime: Runtime, number: int) -> tuple[str, str, Taken, list[Sent]]:
    async with runtime.database.read() as conn:
        state = (
            await conn.execute(
                select(journey_states).where(journey_states.c.journey_id == f"random-{number}")
            )
        ).one()
        steps = await conn.execute(
            select(journey_steps)
            .where(journey_steps.c.state_id == state.id, journey_steps.c.status == "done")
            .order_by(journey_steps.c.seq)
        )
        taken = [(row.key, _bare(row.result)) for row in steps]
        sends = await conn.execute(
            select(email_sends, journey_steps.c.seq)
            .join(journey_steps, journey_steps.c.state_id == email_sends.c.state_id)
            .where(email_sends.c.state_id == state.id, journey_steps.c.key == email_sends.c.step_key)
            .order_by(journey_steps.c.seq)
        )
        emails = [_sent(row) for row in sends]
    return str(state.contact_id), state.status, taken, emails


def _sent(row: Any) -> Sent:
    """A send as a rehearsal shows it."""
    if row.sent_at is not None:
        return row.template_key, "sent", None, row.sent_at
    reason = row.refusal or "provider_refused"
    status = "failed" if reason in ("provider_refused", "retries_exhausted") else "suppressed"
    return row.template_key, status, reason, row.updated_at


def _steps(run: Rehearsal) -> Taken:
    return [(step.key, _bare(step.result)) for step in run.steps]


def _bare(result: Any) -> Any:
    """A result without what is made up anew each time."""
    if isinstance(result, list):
        return [_bare(item) for item in result]
    if isinstance(result, dict):
        return {key: value for key, value in result.items() if key not in ("email_id", "event_id", "seq")}
    return result


def _email(number: int) -> str:
    return f"person-{number}@example.com"
