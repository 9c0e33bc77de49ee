"""Alert rules in the schema, and the alerts that they fired."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from hogsend.access.caller import Scope
from hogsend.alerts.channel_config import masked_config
from hogsend.alerts.rule_types import RULE_TYPES, AlertRuleType, current_values
from hogsend.errors import InvalidInput
from hogsend.graphql import ids
from hogsend.graphql.context import Context, Info
from hogsend.graphql.enums import WireEnum, described_enum, wire_enum
from hogsend.graphql.fields import attribute, field, wire_type
from hogsend.graphql.node import Node, bare_uuid
from hogsend.graphql.rows import Argument, rows, to_one
from hogsend.schema.alerts.collections import ALERTS, RULES
from hogsend.tables.alerts import alerts

described_enum(
    AlertRuleType,
    "AlertRuleType",
    "Measure that an alert rule watches, and when it fires.",
    {rule_type: of_type.description for rule_type, of_type in RULE_TYPES.items()},
)


@wire_enum("Channel that an alert is sent through.")
class AlertChannel(WireEnum):
    SLACK = "slack", "A message in Slack. `channelConfig`: `{webhookUrl, channel?}`."
    WEBHOOK = "webhook", "A POST of JSON. `channelConfig`: `{url}`."
    EMAIL = "email", "An email. `channelConfig`: `{to}`."


@wire_type("An alert rule: a measure, the threshold at which it fires, and whom it notifies.")
class AlertRule(Node, collection=RULES, columns={"channel_config": masked_config}):
    name: str = attribute("Display name.")
    type: AlertRuleType = attribute("Measure that it watches.")
    threshold: float = attribute("Value past which it fires: a rate from 0 to 1, or a number of failures.")
    channel: AlertChannel = attribute("Channel that its alerts are sent through.")
    channel_config: JSON = attribute(
        "Configuration of the channel; see `AlertChannel`. Of a URL, which is a credential, only the host and the"
        " last characters are told."
    )
    cooldown_minutes: int = attribute("Minutes after an alert in which it does not fire again.")
    enabled: bool = attribute("Whether it is evaluated.")
    last_triggered_at: datetime | None = attribute("When it last fired.")
    created_at: datetime = attribute("When it was created.")
    updated_at: datetime = attribute("When it last changed.")
    deleted_at: datetime | None = attribute("When it was deleted; its alerts are kept.")

    uuid = bare_uuid()
    alerts = rows(ALERTS, alerts.c.rule_id, description="Alerts that it fired, newest first.")

    @field("Current value of the measure; null where there is nothing to measure yet.")
    async def current_value(self, info: Info) -> float | None:
        return await _current_value(info.context, self.type.value)


async def _current_value(context: Context, kind: str) -> float | None:
    """One read for all rules of an operation."""

    async def load(kinds: list[str]) -> Sequence[float | None]:
        async with context.connection() as conn:
            values = await current_values(conn, context.runtime.clock.now())
        return [values[kind] for kind in kinds]

    return await context.loader("alert_values", load).load(kind)


@wire_type("An alert: one firing of a rule, with the rule as it was then.")
class Alert(Node, collection=ALERTS, columns={"rule_key": "rule_id"}):
    rule_key: strawberry.Private[UUID]
    rule_name: str = attribute("Name of the rule.")
    type: AlertRuleType = attribute("Measure that the rule watched.")
    current_value: float = attribute("Value of the measure.")
    threshold: float = attribute("Threshold of the rule.")
    channel: AlertChannel = attribute("Channel that it was sent through.")
    delivered: bool = attribute("Whether the channel accepted it.")
    error: str | None = attribute("Why the channel did not accept it.")
    triggered_at: datetime = attribute("When it fired.")

    uuid = bare_uuid()

    @field("Bare UUID of the rule.")
    def rule_uuid(self) -> UUID:
        return self.rule_key

    rule = to_one("rule", "rule_key", "The rule as it is now, even if it was deleted.")


def _rule_key(value: str) -> UUID:
    key = ids.uuid_of(value, AlertRule.prefix)
    if key is None:
        raise InvalidInput("ruleId", "ruleId must be the id of an alert rule")
    return key


@strawberry.type
class AlertQuery:
    alert_rules = rows(RULES, scope=Scope.READ, description="Alert rules that are not deleted, newest first.")
    alerts = rows(
        ALERTS,
        scope=Scope.READ,
        description="Alerts of all rules, newest first.",
        arguments={"rule_id": Argument(strawberry.ID | None, "Only alerts of this rule.", by=_rule_key)},
    )
