"""Journeys under fault on every engine; the worker processes of these tests import them by this module's name.

At a day a second a sleep of half a day is half a second, and `PATIENCE` is longer than any test.
"""

from __future__ import annotations

from hogsend import Context, User, days, journey, when

PATIENCE = days(300)


async def coupon() -> str:
    return "SPRING"


@journey(id="walk", trigger="walk", exit_on="left")
async def walk(user: User, ctx: Context) -> None:
    """One step of each kind that a worker may die in."""
    await ctx.send("welcome")
    await ctx.sleep(days(0.5))
    activated = await ctx.wait_for_event("activated", timeout=days(ctx.event.properties.get("patience", 0.5)))
    await ctx.once("coupon", coupon)
    await ctx.checkpoint("after-wait")
    await ctx.send("congrats" if activated else "nudge")
    await ctx.send("bye")


@journey(id="stay", trigger="stay", exit_on="left")
async def stay(user: User, ctx: Context) -> None:
    """Stands where it is told to, until it is ended."""
    await ctx.send("welcome")
    if ctx.event.properties["in"] == "sleep":
        await ctx.sleep(PATIENCE)
    else:
        await ctx.wait_for_event("activated", timeout=PATIENCE)
    await ctx.send("nudge")


@journey(id="two-mails", trigger="two", exit_on="left")
async def two_mails(user: User, ctx: Context) -> None:
    await ctx.send("welcome")
    await ctx.send("bye")


@journey(id="racer", trigger="start")
async def racer(user: User, ctx: Context) -> None:
    await ctx.send("welcome")
    arrived = await ctx.wait_for_event("go", timeout=PATIENCE)
    await ctx.checkpoint("event" if arrived else "timeout")


@journey(id="punctual", trigger="appoint")
async def punctual(user: User, ctx: Context) -> None:
    arrived = await ctx.wait_for_event("go", timeout=days(1))
    await ctx.checkpoint("event" if arrived else "timeout")


@journey(id="raises", trigger="odd")
async def raises(user: User, ctx: Context) -> None:
    await ctx.send("welcome")
    raise KeyError("plan")


@journey(id="returns-early", trigger="odd")
async def returns_early(user: User, ctx: Context) -> None:
    await ctx.sleep(days(0.1))
    if "plan" not in ctx.event.properties:
        return
    await ctx.send("congrats")


@journey(id="swallows", trigger="odd")
async def swallows(user: User, ctx: Context) -> None:
    for _ in range(2):
        try:
            await ctx.sleep(days(0.1))
            await ctx.send("nudge")
        except Exception:
            await ctx.send("congrats")


@journey(id="repeats", trigger="odd")
async def repeats(user: User, ctx: Context) -> None:
    await ctx.send("bye")
    await ctx.send("bye")


@journey(id="sleeper", trigger="doze")
async def sleeper(user: User, ctx: Context) -> None:
    await ctx.checkpoint("going to bed")
    await ctx.sleep(PATIENCE)


@journey(id="until", trigger="until")
async def until(user: User, ctx: Context) -> None:
    """Sleeps over so many days, until a time of the day where the person is."""
    said = ctx.event.properties
    await ctx.sleep_until(when.in_days(said["days"], at=said["at"]))
    await ctx.now()


@journey(id="forty", trigger="forty")
async def forty(user: User, ctx: Context) -> None:
    arrived = await ctx.wait_for_event("go", timeout=days(40))
    await ctx.checkpoint("event" if arrived else "timeout")
