"""Read rules, what they fired, and what they watch."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.decisions.reasons import Kind
from hogsend.metrics.queries import rate, sent_since
from hogsend.storage.collections import Collection, Sort
from hogsend.tables.alerts import alert_rules, alerts
from hogsend.tables.decisions import decisions
from hogsend.tables.emails import email_sends

_r = alert_rules.c
_a = alerts.c

RULES = Collection(
    "alert_rules",
    "rule",
    columns=tuple(alert_rules.c),
    key=_r.id,
    sorts={"created_at": Sort(_r.created_at)},
    where=(_r.deleted_at.is_(None),),
)

ALERTS = Collection(
    "alerts",
    "alert",
    columns=tuple(alerts.c),
    key=_a.id,
    sorts={"triggered_at": Sort(_a.triggered_at)},
    filters={"rule_id": lambda rule_id: _a.rule_id == rule_id},
)

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
