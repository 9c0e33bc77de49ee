"""Rules are whole or refused; deleting one leaves its history."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from hogsend.alerts.actions import create_rule, delete_rule, find_rule, update_rule
from hogsend.clock import ManualClock
from hogsend.errors import InvalidInput, NotFound
from hogsend.runtime import Runtime
from hogsend.storage.metadata import new_id
from hogsend.tables.alerts import alert_rules, alerts

RULE: dict[str, Any] = {
    "name": "Bounces",
    "type": "bounce_rate_exceeded",
    "threshold": 0.05,
    "channel": "webhook",
    "channel_config": {"url": "https://1.1.1.1/hook"},
}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "  "}, "name"),
        ({"name": None}, "name"),
        ({"name": "a" * 201}, "name"),
        ({"type": "too_quiet"}, "type"),
        ({"threshold": -1}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"threshold": float("inf")}, "threshold"),
        ({"threshold": True}, "threshold"),
        ({"threshold": 1.5}, "threshold"),
        ({"threshold": 10**13, "type": "dlq_growth"}, "threshold"),
        ({"channel": "pigeon"}, "channel"),
        ({"cooldown_minutes": -1}, "cooldownMinutes"),
        ({"cooldown_minutes": 10**9}, "cooldownMinutes"),
        ({"channel_config": "https://1.1.1.1/"}, "channelConfig"),
        ({"channel_config": {}}, "channelConfig.url"),
        ({"channel_config": {"url": 5}}, "channelConfig.url"),
        ({"channel_config": {"url": "http://127.0.0.1/"}}, "channelConfig.url"),
        ({"channel_config": {"url": "http://localhost:3002/"}}, "channelConfig.url"),
        ({"channel_config": {"url": "https://1.1.1.1/", "to": "a@example.com"}}, "channelConfig.to"),
        ({"channel": "slack"}, "channelConfig.webhookUrl"),
        (
            {"channel": "slack", "channel_config": {"webhookUrl": "http://1.1.1.1/"}},
            "channelConfig.webhookUrl",
        ),
        (
            {"channel": "slack", "channel_config": {"webhookUrl": "https://[::1]/"}},
            "channelConfig.webhookUrl",
        ),
        ({"channel": "email", "channel_config": {"to": "nobody"}}, "channelConfig.to"),
    ],
)
async def test_what_does_not_fit_is_refused_by_its_name(
    runtime: Runtime, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await create_rule(runtime, {**RULE, **changes})
    assert refused.value.field == field
    rule = await create_rule(runtime, RULE)
    with pytest.raises(InvalidInput) as refused:
        await update_rule(runtime, rule["id"], changes)
    assert refused.value.field == field
    async with runtime.database.read() as conn:
        assert (await find_rule(conn, rule["id"])) == rule


async def test_a_name_that_cannot_be_resolved_now_is_kept(runtime: Runtime) -> None:
    config = {"webhookUrl": "https://hooks.invalid/services/T0/B0/x", "channel": "#ops"}
    rule = await create_rule(runtime, {**RULE, "channel": "slack", "channel_config": config})
    assert rule["channel_config"] == config
    assert (rule["cooldown_minutes"], rule["enabled"]) == (60, True)


async def test_a_rule_changes_only_where_it_is_told_to(runtime: Runtime, clock: ManualClock) -> None:
    rule = await create_rule(runtime, RULE)
    clock.advance(timedelta(minutes=1))
    changed = await update_rule(
        runtime,
        rule["id"],
        {"channel": "email", "channel_config": {"to": " Ops@Example.com "}, "enabled": False},
    )
    assert {name for name in rule if rule[name] != changed[name]} == {
        "channel",
        "channel_config",
        "enabled",
        "updated_at",
    }
    assert changed["channel_config"] == {"to": "ops@example.com"}


async def test_history_outlives_its_rule(runtime: Runtime, clock: ManualClock) -> None:
    rule = await create_rule(runtime, RULE)
    fired = {
        "id": new_id(),
        "rule_id": rule["id"],
        "rule_name": rule["name"],
        "type": rule["type"],
        "current_value": 0.1,
        "threshold": 0.05,
        "channel": "webhook",
        "triggered_at": clock.now(),
        "resolved_at": clock.now(),
    }
    async with runtime.database.transaction() as conn:
        await conn.execute(insert(alerts).values(fired))
    await delete_rule(runtime, rule["id"])
    for gone in (
        lambda: delete_rule(runtime, rule["id"]),
        lambda: update_rule(runtime, rule["id"], {"name": "Back"}),
    ):
        with pytest.raises(NotFound, match="Alert rule not found"):
            await gone()
    async with runtime.database.read() as conn:
        assert (await conn.execute(select(alerts.c.rule_id))).scalar_one() == rule["id"]
        assert (await conn.execute(select(alert_rules.c.deleted_at))).scalar_one() == clock.now()
