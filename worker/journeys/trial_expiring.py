"""Tell people that their trial ends, while there is time to act on it."""

from hogsend import Context, User, days, journey, once_per

TRIAL = days(14)
NOTICE = days(3)


@journey(
    id="trial-expiring",
    name="Trial: expiring",
    trigger="trial.started",
    entry=once_per(days(30)),
    exit_on="account.deleted",
)
async def trial_expiring(user: User, ctx: Context) -> None:
    """Warns three days before a trial of fourteen days ends, and thanks whoever upgrades before it does."""
    upgrade = await ctx.wait_for_event("subscription.created", timeout=TRIAL - NOTICE, label="early-upgrade")
    if upgrade.timed_out:
        await ctx.send("trial-ending", props={"days_left": NOTICE.days})
        upgrade = await ctx.wait_for_event("subscription.created", timeout=NOTICE, label="late-upgrade")

    if upgrade.timed_out:
        await ctx.checkpoint("expired")
        await ctx.send("trial-ended")
    else:
        await ctx.checkpoint("upgraded")
        await ctx.send("trial-upgraded", props={"plan": upgrade.properties.get("plan")})
