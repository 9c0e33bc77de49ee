"""Test of an alert rule: its channel gets what it would now tell, marked as a test. Nothing fires."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from hogsend.access.audit import audit
from hogsend.alerts.actions import find_rule
from hogsend.alerts.channels import tell
from hogsend.alerts.measures import window
from hogsend.alerts.notice import Notice
from hogsend.alerts.posting import DeliveryFailed
from hogsend.alerts.rule_types import current_values, of_type
from hogsend.runtime import Runtime
from hogsend.storage.metadata import new_id


@dataclass(frozen=True)
class RuleTest:
    """What became of the test: `error` says why the channel did not take it."""

    delivered: bool
    error: str | None


async def send_test(runtime: Runtime, rule_id: UUID) -> RuleTest:
    """Send one test through the rule's channel, also where the rule is disabled. Raises `NotFound`."""
    tested = await _tell(runtime, rule_id)
    async with runtime.database.transaction() as conn:
        await audit(conn, resource_id=rule_id, detail={"delivered": tested.delivered})
    return tested


async def _tell(runtime: Runtime, rule_id: UUID) -> RuleTest:
    now = runtime.clock.now()
    async with runtime.database.read() as conn:
        rule = await find_rule(conn, rule_id)
        values = await current_values(conn, runtime, [rule["type"]])
    over = of_type(rule["type"]).measure.over
    notice = Notice(
        id=new_id(),
        rule_id=rule_id,
        rule_name=rule["name"],
        type=rule["type"],
        current_value=values[rule["type"]],
        threshold=rule["threshold"],
        at=now,
        test=True,
        since=now if over is None else window(runtime, over),
    )
    try:
        await tell(runtime, rule["channel"], rule["channel_config"], notice, secret=rule["signing_secret"])
    except DeliveryFailed as error:
        return RuleTest(False, error.reason)
    return RuleTest(True, None)
