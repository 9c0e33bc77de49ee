"""Mistakes that show when a journey runs: one sentence in a rehearsal and in production."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from hogsend import Context, Journey, JourneyError, User, days, journey
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.testing import rehearse_async
from tests.driving import ADA, drive, rows, send_event
from tests.fixtures.journeys import RunningWith

# mypy finds most of these by itself, which is what the comments are for.


@journey(id="forgets-at-the-end", trigger="signup")
async def forgets_at_the_end(user: User, ctx: Context) -> None:
    await ctx.checkpoint("before")
    ctx.send("welcome")  # type: ignore[unused-coroutine]


@journey(id="forgets-before-a-step", trigger="signup")
async def forgets_before_a_step(user: User, ctx: Context) -> None:
    try:
        ctx.trigger("greeted")  # type: ignore[unused-coroutine]
        await ctx.send("welcome")
    except BaseException:
        await ctx.sleep(days(1))


@journey(id="forgets-in-a-condition", trigger="signup")
async def forgets_in_a_condition(user: User, ctx: Context) -> None:
    if ctx.history.has_event("paid"):  # type: ignore[truthy-bool]
        await ctx.send("welcome")


@journey(id="forgets-and-reads", trigger="signup")
async def forgets_and_reads(user: User, ctx: Context) -> None:
    found: Any = ctx.wait_for_event("paid", timeout=days(1))
    if found.timed_out:
        await ctx.send("welcome")


@journey(id="gathers", trigger="signup")
async def gathers(user: User, ctx: Context) -> None:
    await asyncio.gather(ctx.send("welcome"), ctx.send("nudge"))


@journey(id="leaves-a-task", trigger="signup")
async def leaves_a_task(user: User, ctx: Context) -> None:
    task = asyncio.ensure_future(ctx.send("welcome"))
    task.add_done_callback(lambda _task: None)


@journey(id="steps-in-once", trigger="signup")
async def steps_in_once(user: User, ctx: Context) -> None:
    async def both() -> None:
        await ctx.send("welcome")

    await ctx.once("both", both)


async def price() -> Decimal:
    return Decimal("9.90")


@journey(id="returns-a-decimal", trigger="signup")
async def returns_a_decimal(user: User, ctx: Context) -> None:
    await ctx.once("price", price)


@journey(id="calls-it-itself", trigger="signup")
async def calls_it_itself(user: User, ctx: Context) -> None:
    await ctx.once("price", 9.9)  # type: ignore[arg-type]


@journey(id="not-async", trigger="signup")
async def not_async(user: User, ctx: Context) -> None:
    await ctx.once("price", lambda: 9.9)  # type: ignore[arg-type,return-value]


@journey(id="sends-a-decimal", trigger="signup")
async def sends_a_decimal(user: User, ctx: Context) -> None:
    await ctx.send("welcome", props={"n": 1, "price": Decimal("9.90")})


@journey(id="triggers-nothing", trigger="signup")
async def triggers_nothing(user: User, ctx: Context) -> None:
    await ctx.trigger(" ")


def line(mistaken: Journey, offset: int) -> str:
    return f"line {mistaken.run.__code__.co_firstlineno + offset}"


LESSONS = [
    (
        forgets_at_the_end,
        f"ctx.send(…) was called without await (in forgets_at_the_end, {line(forgets_at_the_end, 3)}), so nothing "
        "happened: write `await ctx.send(…)`",
    ),
    (
        forgets_before_a_step,
        f"ctx.trigger(…) was called without await (in forgets_before_a_step, {line(forgets_before_a_step, 3)})",
    ),
    (forgets_in_a_condition, "ctx.history.has_event(…) was called without await (in forgets_in_a_condition"),
    (forgets_and_reads, "no timed_out yet: ctx.wait_for_event(…) was called without await"),
    (
        gathers,
        f"(in gathers, {line(gathers, 2)}), so nothing happened: write `await ctx.send(…)`, one step at a ",
    ),
    (leaves_a_task, "ctx.send(…) was called without await (in leaves_a_task"),
    (steps_in_once, "the step send:welcome was begun while once:both was under way"),
    (returns_a_decimal, "ctx.once('price', …) returned what the journal, which is JSON, cannot hold"),
    (calls_it_itself, "ctx.once('price', …): give the function itself, without calling it"),
    (not_async, "ctx.once('price', …): the function must be async; write `async def`"),
    (sends_a_decimal, "ctx.send('welcome', props=…): 'price' is Decimal('9.90'), which JSON cannot hold"),
    (triggers_nothing, "' ' is no event name"),
]


@pytest.mark.parametrize(("mistaken", "lesson"), LESSONS, ids=[mistaken.id for mistaken, _ in LESSONS])
async def test_a_mistake_fails_the_rehearsal(mistaken: Journey, lesson: str) -> None:
    with pytest.raises((JourneyError, AttributeError)) as told:
        await rehearse_async(mistaken)
    assert lesson in str(told.value)


async def test_a_mistake_fails_the_run_by_the_same_sentence_and_nothing_is_sent(running: RunningWith) -> None:
    provider = MemoryProvider()
    async with running(*(mistaken for mistaken, _ in LESSONS), provider=provider) as runtime:
        await send_event(runtime, "signup")
        await drive(runtime)
        found = await rows(runtime, "SELECT journey_id, status, ended_reason, error FROM journey_states")
        failed = {row.journey_id: row for row in found}
        for mistaken, lesson in LESSONS:
            run = failed[mistaken.id]
            assert (run.status, run.ended_reason) == ("failed", "journey_raised")
            assert lesson in run.error
        assert provider.to(ADA) == []
