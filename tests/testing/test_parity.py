"""The rehearsal and the runner agree: random journeys, random lives, in memory and on Postgres, one journal."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from hogsend import Context, Journey, User, hours, journey, on, prop
from hogsend.boot import open_runtime
from hogsend.clock import ManualClock
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.journeys.registry import Registry
from hogsend.journeys.tables import journey_states, journey_steps
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from hogsend.testing import Rehearsal, after, rehearse_async
from hogsend.testing.script import EventHappens
from tests.driving import drive, drive_to_end, send_event

TEMPLATES = Path(__file__).parent.parent / "templates"
CASES = 40

Taken = list[tuple[str, Any]]


def random_journey(number: int) -> Journey:
    """A journey that takes the same random steps each time that it is run."""

    @journey(id=f"random-{number}", trigger=f"start-{number}", exit_on=on("stop", where=prop("n") > 1))
    async def run(user: User, ctx: Context) -> None:
        dice = random.Random(number)
        for _ in range(dice.randint(2, 7)):
            await _step(dice, ctx)

    return run


async def _step(dice: random.Random, ctx: Context) -> None:
    span = hours(dice.choice([1, 5, 12, 24, 30]))
    where = dice.choice([None, prop("n") > 2, {"n": 1}])
    match dice.randint(0, 8):
        case 0:
            await ctx.send(dice.choice(["welcome", "nudge"]), props={"n": dice.randint(0, 3)})
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


def random_life(number: int) -> list[EventHappens]:
    """Events that fall on the edges of windows as often as between them; no two at one instant."""
    dice = random.Random(-number)
    moments = sorted(dice.sample([0.5, 1, 2, 5, 6, 12, 13, 24, 30, 36, 48], dice.randint(0, 8)))
    names = dice.choices(["a", "b", "stop"], weights=[6, 3, 1], k=len(moments))
    return [
        after(hours(at), name, {"n": dice.randint(0, 3)}) for at, name in zip(moments, names, strict=True)
    ]


@pytest.fixture
async def world(settings: Settings, clock: ManualClock, clean: None) -> AsyncIterator[Runtime]:
    mine = settings.model_copy(update={"templates": [TEMPLATES]})
    registry = Registry(random_journey(number) for number in range(CASES))
    async with open_runtime(mine, clock=clock, registry=registry, provider=MemoryProvider()) as runtime:
        yield runtime


async def test_random_journeys_take_the_same_steps_in_memory_and_on_postgres(
    world: Runtime, clock: ManualClock
) -> None:
    start = clock.now()
    await _live(world, clock)
    outcomes = set()
    for number in range(CASES):
        contact_id, status, taken = await _outcome(world, number)
        run = await rehearse_async(
            random_journey(number),
            user={"id": contact_id, "email": _email(number)},
            happens=random_life(number),
            starts=start,
        )
        assert (run.status, _steps(run)) == (status, taken), f"journey {number}, life {random_life(number)}"
        outcomes.add(status)
    assert outcomes == {"completed", "exited"}


async def _live(runtime: Runtime, clock: ManualClock) -> None:
    """Everybody's life at once, on one clock."""
    start = clock.now()
    for number in range(CASES):
        await send_event(runtime, f"start-{number}", email=_email(number))
    await drive(runtime)
    due = [(happening.at, number, happening) for number in range(CASES) for happening in random_life(number)]
    for moment, together in groupby(sorted(due, key=lambda one: one[:2]), key=lambda one: one[0]):
        await drive_to_end(runtime, clock, until=start + moment - timedelta(microseconds=1))
        clock.set(start + moment)
        for _, number, happening in together:
            await send_event(runtime, happening.event, email=_email(number), **happening.properties)
        await drive(runtime)
    await drive_to_end(runtime, clock)


async def _outcome(runtime: Runtime, number: int) -> tuple[str, str, Taken]:
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
    return str(state.contact_id), state.status, taken


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
