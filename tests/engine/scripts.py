"""Journeys that every engine runs alike; the worker processes of these tests import them by this module's name."""

from __future__ import annotations

from hogsend import Context, User, days, journey


@journey(id="patient", trigger="signup", exit_on="unsubscribed")
async def patient(user: User, ctx: Context) -> None:
    """Sends, sleeps, waits as many days as the trigger says, and goes two ways."""
    await ctx.send("welcome")
    await ctx.sleep(days(1))
    activated = await ctx.wait_for_event("activated", timeout=days(ctx.event.properties.get("patience", 1)))
    await ctx.checkpoint("after-wait")
    await ctx.send("congrats" if activated else "nudge", props={"note": activated.properties.get("plan", "")})
    await ctx.now()
    await ctx.send("bye")


@journey(id="brief", trigger="ping", entry="unlimited")
async def brief(user: User, ctx: Context) -> None:
    await ctx.send("welcome")


@journey(id="broken", trigger="break")
async def broken(user: User, ctx: Context) -> None:
    await ctx.checkpoint("before")
    raise KeyError("plan")
