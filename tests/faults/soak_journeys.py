"""Journeys for a long run: they send, sleep, wait, are left, and keep people out."""

from __future__ import annotations

from hogsend import Context, User, days, hours, journey, on, prop

LISTENERS = {"soak.signup": ("soak-sleeps", "soak-waits", "soak-picks"), "soak.paid": ("soak-collects",)}
"""The journeys that decide about each event."""


@journey(id="soak-sleeps", trigger="soak.signup")
async def sleeps(user: User, ctx: Context) -> None:
    await ctx.send("welcome")
    await ctx.sleep(days(1))
    await ctx.send("bye")


@journey(id="soak-waits", trigger="soak.signup", exit_on="soak.left")
async def waits(user: User, ctx: Context) -> None:
    if await ctx.wait_for_event("soak.paid", timeout=days(2)):
        await ctx.send("congrats")
    else:
        await ctx.send("nudge")


@journey(id="soak-picks", trigger=on("soak.signup", where=prop("plan") == "pro"))
async def picks(user: User, ctx: Context) -> None:
    await ctx.variant("arm", ["a", "b"])
    await ctx.sleep(hours(6))
    await ctx.checkpoint("six-hours")


@journey(id="soak-collects", trigger="soak.paid", entry="unlimited")
async def collects(user: User, ctx: Context) -> None:
    await ctx.digest("soak.used", window=hours(12))
