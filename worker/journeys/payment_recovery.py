"""Ask for a payment that failed, more plainly each time, until it comes through."""

from hogsend import Context, User, days, journey


@journey(
    id="payment-recovery",
    name="Payment: recovery",
    trigger="payment.failed",
    entry="unlimited",
    exit_on=["payment.succeeded", "account.deleted"],
    category="transactional",
)
async def payment_recovery(user: User, ctx: Context) -> None:
    """Reminds of a failed payment after three days and once more after seven; a payment ends it at once."""
    bill = {name: ctx.event.properties.get(name) for name in ("invoice", "amount")}

    await ctx.send("payment-failed", props=bill)
    await ctx.sleep(days(3))
    await ctx.send("payment-reminder", props=bill)
    await ctx.sleep(days(4))
    await ctx.checkpoint("last-notice")
    await ctx.send("payment-final-notice", props=bill)
