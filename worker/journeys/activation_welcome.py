"""Welcome whoever signs up, and look after two days whether they got going."""

from hogsend import Context, User, days, journey


@journey(
    id="activation-welcome",
    name="Activation: welcome",
    trigger="user.signed_up",
    entry="once",
    exit_on="account.deleted",
    category="onboarding",
)
async def activation_welcome(user: User, ctx: Context) -> None:
    """Welcomes new people, then congratulates those who created a project and nudges those who did not."""
    await ctx.send("welcome")
    await ctx.sleep(days(2))

    if await ctx.history.has_event("project.created"):
        await ctx.checkpoint("activated")
        await ctx.send("activation-congrats")
    else:
        await ctx.checkpoint("not-activated")
        await ctx.send("activation-nudge")
