"""Deliveries of alerts: the job that brings a firing or a resolution to its channel, and what becomes of it.

It goes where the rule says *now*, so that a channel that was put right gets what is still on its way.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.alerts.channels import tell
from hogsend.alerts.notice import Notice
from hogsend.alerts.posting import DeliveryFailed, Receipt
from hogsend.engine.jobs import RunAgain
from hogsend.runtime import Runtime
from hogsend.tables.alerts import alert_deliveries, alert_rules, alerts

IN_ORDER = timedelta(minutes=1)
"""Real time after which a resolution looks again whether its firing has been told."""

_deliveries, _alerts, _rules = alert_deliveries.c, alerts.c, alert_rules.c
_DELIVERY = (
    select(
        _deliveries.id,
        _deliveries.alert_id,
        _deliveries.change,
        _deliveries.status,
        _alerts.rule_id,
        _alerts.rule_name,
        _alerts.type,
        _alerts.current_value,
        _alerts.threshold,
        _alerts.triggered_at,
        _alerts.since,
        _alerts.resolved_at,
        _alerts.resolved_value,
        _alerts.resolution,
        _rules.channel,
        _rules.channel_config,
        _rules.signing_secret,
        _rules.deleted_at,
    )
    .join(alerts, _alerts.id == _deliveries.alert_id)
    .join(alert_rules, _rules.id == _alerts.rule_id)
)


async def tell_job(runtime: Runtime, payload: Mapping[str, Any]) -> None:
    """Handler of `alerts.tell`. Raises `DeliveryFailed` to be run again; a resolution waits for its firing."""
    delivery = await _find(runtime, UUID(payload["delivery_id"]))
    if delivery is None or delivery["status"] == "delivered":
        return
    if delivery["change"] == "resolved" and await _firing_is_under_way(runtime, delivery["alert_id"]):
        raise RunAgain(IN_ORDER)
    if delivery["deleted_at"] is not None and not await _was_told(runtime, delivery):
        await _leave(runtime, delivery["id"], "The rule was deleted before anybody was told")
        return
    try:
        receipt = await tell(
            runtime,
            delivery["channel"],
            delivery["channel_config"],
            _notice(delivery),
            secret=delivery["signing_secret"],
        )
    except DeliveryFailed as error:
        await _note(runtime, delivery, error.receipt, error.reason)
        raise
    runtime.fault_point("after_alert_told")
    await _note(runtime, delivery, receipt, None)


async def give_up_telling(conn: AsyncConnection, delivery_id: UUID) -> None:
    """A delivery has failed for good, in the transaction that keeps its dead letter."""
    await conn.execute(
        update(alert_deliveries)
        .where(_deliveries.id == delivery_id, _deliveries.status == "pending")
        .values(status="failed")
    )


async def _find(runtime: Runtime, delivery_id: UUID) -> RowMapping | None:
    async with runtime.database.read() as conn:
        found = await conn.execute(_DELIVERY.where(_deliveries.id == delivery_id))
        row: RowMapping | None = found.mappings().one_or_none()
    return row


async def _firing_is_under_way(runtime: Runtime, alert_id: UUID) -> bool:
    under_way = select(_deliveries.id).where(
        _deliveries.alert_id == alert_id, _deliveries.change == "fired", _deliveries.status == "pending"
    )
    async with runtime.database.read() as conn:
        return (await conn.execute(under_way)).first() is not None


async def _was_told(runtime: Runtime, delivery: RowMapping) -> bool:
    """Whether the firing of a deleted rule's alert was heard, so that its end is of interest."""
    told = select(_deliveries.id).where(
        _deliveries.alert_id == delivery["alert_id"],
        _deliveries.change == "fired",
        _deliveries.status == "delivered",
    )
    async with runtime.database.read() as conn:
        return (await conn.execute(told)).first() is not None


async def _leave(runtime: Runtime, delivery_id: UUID, reason: str) -> None:
    async with runtime.database.transaction() as conn:
        await conn.execute(
            update(alert_deliveries)
            .where(_deliveries.id == delivery_id, _deliveries.status == "pending")
            .values(status="failed", error=reason)
        )


def _notice(row: RowMapping) -> Notice:
    fired = row["change"] == "fired"
    return Notice(
        id=row["id"],
        rule_id=row["rule_id"],
        rule_name=row["rule_name"],
        type=row["type"],
        current_value=row["current_value"] if fired else row["resolved_value"],
        threshold=row["threshold"],
        at=row["triggered_at"] if fired else row["resolved_at"],
        change=row["change"],
        alert_id=row["alert_id"],
        since=row["since"],
        resolution=None if fired else row["resolution"],
    )


async def _note(runtime: Runtime, delivery: RowMapping, receipt: Receipt | None, error: str | None) -> None:
    """Keep what came of one attempt, on the delivery and, for a firing, on its alert."""
    now = runtime.clock.now()
    delivered = error is None
    values: dict[str, Any] = {
        "channel": delivery["channel"],
        "attempts": _deliveries.attempts + 1,
        "attempted_at": now,
        "response_status": None if receipt is None else receipt.status,
        "response_body": None if receipt is None else receipt.body,
        "error": error,
    }
    if delivered:
        values |= {"status": "delivered", "delivered_at": now}
    async with runtime.database.transaction() as conn:
        noted = await conn.execute(
            update(alert_deliveries)
            .where(_deliveries.id == delivery["id"], _deliveries.status != "delivered")
            .values(values)
        )
        if noted.rowcount and delivery["change"] == "fired":
            await conn.execute(
                update(alerts)
                .where(_alerts.id == delivery["alert_id"])
                .values(delivered=delivered, error=error, channel=delivery["channel"])
            )
