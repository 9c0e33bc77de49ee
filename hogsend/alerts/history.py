"""History of alerts: a rule fires, and what it fired is resolved; each a row, a line of the log, and a notification.

Every function expects the caller's transaction and the lock of the rule's row, so that a rule has one alert that is
not resolved, or none; a unique index holds it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.alerts.measures import TELL, window
from hogsend.alerts.notice import Change
from hogsend.alerts.rule_types import of_type
from hogsend.engine.outbox import enqueue_job
from hogsend.realtime import activity
from hogsend.runtime import Runtime
from hogsend.storage.database import Record
from hogsend.storage.metadata import new_id
from hogsend.tables.alerts import alert_deliveries, alert_rules, alerts
from hogsend.tables.realtime import ActivityKind

MOST_ATTEMPTS = 36
"""With the pauses between jobs' attempts they span four and a half hours."""

Resolution = Literal["cleared", "rule_changed", "rule_disabled", "rule_deleted"]
_alerts, _rules = alerts.c, alert_rules.c


async def fire(conn: AsyncConnection, runtime: Runtime, rule: Record, value: float) -> UUID:
    """Record that the rule fired at `value`; tell it, unless the rule is muted. Returns the alert's id."""
    now, wall = runtime.clock.now(), runtime.clock.wall()
    over = of_type(rule["type"]).measure.over
    alert_id = new_id()
    muted = is_muted(rule, wall)
    alert = {
        "id": alert_id,
        "rule_id": rule["id"],
        "rule_name": rule["name"],
        "type": rule["type"],
        "current_value": value,
        "threshold": rule["threshold"],
        "channel": rule["channel"],
        "triggered_at": now,
        "since": now if over is None else window(runtime, over),
        "held": "fired" if muted else None,
    }
    await conn.execute(insert(alerts).values(alert))
    fired = {
        "firing_alert_id": alert_id,
        "last_triggered_at": now,
        "cooldown_from": wall,
        "clear_evaluations": 0,
    }
    await conn.execute(update(alert_rules).where(_rules.id == rule["id"]).values(fired))
    await _log(conn, now, alert_id, "fired")
    if not muted:
        await _notify(conn, runtime, rule, alert_id, "fired")
    return alert_id


async def resolve(
    conn: AsyncConnection, runtime: Runtime, rule: Record, resolution: Resolution, value: float | None = None
) -> None:
    """Resolve the alert that the rule has open, if it has one. Whoever heard of it hears that it is over."""
    if rule["firing_alert_id"] is None:
        return
    now = runtime.clock.now()
    of_it = _alerts.id == rule["firing_alert_id"]
    held = (await conn.execute(select(_alerts.held).where(of_it).with_for_update())).scalar_one_or_none()
    # What nobody heard of needs no end.
    silent = held == "fired"
    hold = not silent and is_muted(rule, runtime.clock.wall())
    closed = await conn.execute(
        update(alerts)
        .where(of_it, _alerts.resolved_at.is_(None))
        .values(
            resolved_at=func.greatest(now, _alerts.triggered_at),
            resolution=resolution,
            resolved_value=value,
            held="resolved" if hold else None,
        )
    )
    await conn.execute(
        update(alert_rules).where(_rules.id == rule["id"]).values(firing_alert_id=None, clear_evaluations=0)
    )
    # An alert that retention has forgotten meanwhile has nothing to be told of.
    if not closed.rowcount:
        return
    await _log(conn, now, rule["firing_alert_id"], "resolved")
    if not silent and not hold:
        await _notify(conn, runtime, rule, rule["firing_alert_id"], "resolved")


async def tell_held(conn: AsyncConnection, runtime: Runtime, rule: Record) -> None:
    """Once a mute is over: tell what it kept back and still matters, the oldest first."""
    if is_muted(rule, runtime.clock.wall()):
        return
    held = select(_alerts.id, _alerts.held).where(_alerts.rule_id == rule["id"], _alerts.held.is_not(None))
    found = (await conn.execute(held.order_by(_alerts.triggered_at, _alerts.id).with_for_update())).all()
    for alert in found:
        await conn.execute(update(alerts).where(_alerts.id == alert.id).values(held=None))
        await _notify(conn, runtime, rule, alert.id, alert.held)


def is_muted(rule: Record, wall: datetime) -> bool:
    """Whether its notifications are held back now. A mute is real time."""
    return rule["muted_until"] is not None and bool(rule["muted_until"] > wall)


async def _log(conn: AsyncConnection, now: datetime, alert_id: UUID, change: Change) -> None:
    await activity.record(conn, at=now, kind=ActivityKind.ALERT, type=change, ref_id=alert_id)


async def _notify(
    conn: AsyncConnection, runtime: Runtime, rule: Record, alert_id: UUID, change: Change
) -> None:
    """Queue the telling; a job brings it to the channel after this transaction."""
    delivery = {
        "id": new_id(),
        "alert_id": alert_id,
        "change": change,
        "channel": rule["channel"],
        "created_at": runtime.clock.now(),
    }
    written = await conn.execute(
        insert(alert_deliveries)
        .values(delivery)
        .on_conflict_do_nothing(index_elements=["alert_id", "change"])
        .returning(alert_deliveries.c.id)
    )
    if written.scalar_one_or_none() is not None:
        await enqueue_job(
            conn,
            runtime.clock,
            TELL,
            {"delivery_id": str(delivery["id"])},
            dedupe_key=f"alert:{delivery['id']}",
            max_attempts=MOST_ATTEMPTS,
        )
