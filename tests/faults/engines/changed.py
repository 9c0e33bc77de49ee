"""The journeys after a deploy: one of them does other things first."""

from __future__ import annotations

from hogsend import Context, User, journey


@journey(id="walk", trigger="walk", exit_on="left")
async def walk(user: User, ctx: Context) -> None:
    await ctx.send("nudge")
    await ctx.send("welcome")
