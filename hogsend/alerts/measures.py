"""What alert rules watch: the current value of each type of rule."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.decisions.reasons import Kind
from hogsend.metrics.queries import rate, sent_since
from hogsend.tables.decisions import decisions
from hogsend.tables.emails import email_sends

RATES_OVER = timedelta(days=30)
FAILURES_OVER = timedelta(hours=1)


async def current_values(conn: AsyncConnection, now: datetime) -> dict[str, float | None]:
    """What each type of rule watches, at `now` (product time); None where there is nothing to measure.

    Rates are of the emails sent in the last 30 days; failures are runs that failed or were blocked in the last hour.
    """
    sends = (
        select(
            func.count().label("sent"),
            func.count(email_sends.c.delivered_at).label("delivered"),
            func.count(email_sends.c.bounced_at).label("bounced"),
            func.count(email_sends.c.complained_at).label("complained"),
        )
        .where(sent_since(now - RATES_OVER))
        .subquery("sends")
    )
    failures = (
        select(func.count().label("failures"))
        .where(
            decisions.c.at >= now - FAILURES_OVER,
            decisions.c.kind.in_((Kind.FAILED.value, Kind.BLOCKED.value)),
        )
        .subquery("failures")
    )
    both = select(sends, failures).select_from(sends.join(failures, true()))
    row = (await conn.execute(both)).one()
    return {
        "bounce_rate_exceeded": rate(row.bounced, row.sent),
        "journey_failure_spike": float(row.failures),
        "delivery_issue": rate(row.delivered, row.sent) if row.sent else None,
        "high_complaint_rate": rate(row.complained, row.sent),
    }
