"""One journey: somebody asks, and gets an email."""

from __future__ import annotations

from hogsend import Context, User, journey


@journey(id="outage-answers", trigger="outage.asked", entry="unlimited")
async def answers(user: User, ctx: Context) -> None:
    await ctx.send("welcome")
