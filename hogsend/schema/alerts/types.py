"""Alert rules in the schema, the alerts that they fired, and how those were told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import strawberry
from strawberry.scalars import JSON
from strawberry.utils.str_converters import to_camel_case

from hogsend.access.caller import Scope
from hogsend.alerts.channel_config import masked_config, masked_secret
from hogsend.alerts.notice import look_at
from hogsend.alerts.rule_types import RULE_TYPES, AlertRuleType, current_values
from hogsend.errors import InvalidInput
from hogsend.graphql import ids
from hogsend.graphql.context import Context, Info
from hogsend.graphql.enums import WireEnum, described_enum, wire_enum
from hogsend.graphql.fields import attribute, field, wire_type
from hogsend.graphql.node import Node, bare_uuid
from hogsend.graphql.rows import Argument, rows, to_one
from hogsend.schema.alerts.collections import ALERTS, DELIVERIES, RULES
from hogsend.tables.alerts import alert_deliveries, alerts

described_enum(
    AlertRuleType,
    "AlertRuleType",
    "Measure that an alert rule watches, and when it fires.",
    {rule_type: of_type.description for rule_type, of_type in RULE_TYPES.items()},
)


@wire_enum("Channel that an alert is sent through.")
class AlertChannel(WireEnum):
    SLACK = "slack", "A message in Slack. `channelConfig`: `{webhookUrl, channel?}`."
    WEBHOOK = "webhook", "A POST of JSON, signed as Standard Webhooks. `channelConfig`: `{url}`."
    EMAIL = "email", "An email. `channelConfig`: `{to}`."


@wire_enum("What happened to an alert.")
class AlertChange(WireEnum):
    FIRED = "fired", "The measure went past the threshold."
    RESOLVED = "resolved", "It came back, or the rule watches it no longer."


@wire_enum("Why an alert is over.")
class AlertResolution(WireEnum):
    CLEARED = "cleared", "The measure was on the good side of the threshold three times in a row."
    RULE_CHANGED = "rule_changed", "The rule was changed to watch something else."
    RULE_DISABLED = "rule_disabled", "The rule was disabled."
    RULE_DELETED = "rule_deleted", "The rule was deleted."


@wire_enum("How far the telling of an alert has come.")
class AlertDeliveryStatus(WireEnum):
    PENDING = "pending", "It is on its way, or tried again."
    DELIVERED = "delivered", "The channel accepted it."
    FAILED = "failed", "It failed for good, and is a dead letter."


@wire_type("A query that shows what to look at: post it as it is.")
class AlertQueryDocument:
    query: str = attribute("The document.")
    variables: JSON = attribute("Its variables.")


@wire_type("An alert rule: a measure, the threshold at which it fires, and whom it notifies.")
class AlertRule(
    Node,
    collection=RULES,
    columns={
        "channel_config": masked_config,
        "signing_secret": masked_secret,
        "firing_key": "firing_alert_id",
    },
):
    firing_key: strawberry.Private[UUID | None]
    name: str = attribute("Display name.")
    type: AlertRuleType = attribute("Measure that it watches.")
    threshold: float = attribute(
        "Value past which it fires: a rate from 0 to 1, a number, or seconds or hours, by its type."
    )
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
    muted_until: datetime | None = attribute(
        "Instant of real time until which its notifications are held back; it may be past."
    )
    signing_secret: str = attribute(
        "Secret that its webhooks are signed with, masked: only the last characters are told."
    )

    uuid = bare_uuid()
    alerts = rows(ALERTS, alerts.c.rule_id, description="Alerts that it fired, newest first.")
    firing = to_one(
        "alert", "firing_key", "The alert that it fired and that is not resolved; null where all is well."
    )

    @field("Value that would now be compared with the threshold; null where there is nothing to measure.")
    async def current_value(self, info: Info) -> float | None:
        return await _current_value(info.context, self.type.value)


def _former(name: str, kind: type, description: str) -> Any:
    """A field under the name that it had before."""

    def resolver(self: Any) -> Any:
        return getattr(self, name)

    resolver.__annotations__["return"] = kind
    return strawberry.field(
        resolver=resolver, description=description, deprecation_reason=f"Use `{to_camel_case(name)}`."
    )


async def _current_value(context: Context, kind: str) -> float | None:
    """One read for all rules of an operation."""

    async def load(kinds: list[str]) -> Sequence[float | None]:
        async with context.connection() as conn:
            values = await current_values(conn, context.runtime, kinds)
        return [values[kind] for kind in kinds]

    return await context.loader("alert_values", load).load(kind)


@wire_type("A telling of an alert: one firing or one resolution, on its way to the rule's channel.")
class AlertDelivery(Node, collection=DELIVERIES):
    change: AlertChange = attribute("What is told.")
    channel: AlertChannel = attribute("Channel of the last attempt.")
    status: AlertDeliveryStatus = attribute("How far it has come.")
    attempts: int = attribute("Number of attempts.")
    response_status: int | None = attribute("HTTP status that the receiver answered last.")
    response_body: str | None = attribute("First bytes of what the receiver answered last.")
    error: str | None = attribute("Why the channel did not accept it.")
    created_at: datetime = attribute("When it was queued.")
    attempted_at: datetime | None = attribute("When it was last tried.")
    delivered_at: datetime | None = attribute("When the channel accepted it.")

    uuid = bare_uuid()


@wire_type("An alert: one firing of a rule, with the rule as it was then.")
class Alert(
    Node,
    collection=ALERTS,
    columns={"rule_key": "rule_id", "value": "current_value", "fired_at": "triggered_at"},
):
    rule_key: strawberry.Private[UUID]
    since: strawberry.Private[datetime | None]
    rule_name: str = attribute("Name of the rule.")
    type: AlertRuleType = attribute("Measure that the rule watched.")
    value: float = attribute("Value of the measure.")
    threshold: float = attribute("Threshold of the rule.")
    channel: AlertChannel = attribute("Channel that it was sent through.")
    delivered: bool = attribute("Whether the channel accepted the firing.")
    error: str | None = attribute("Why the channel did not accept it.")
    fired_at: datetime = attribute("When it fired.")
    resolved_at: datetime | None = attribute("When it was resolved; null while it fires.")
    resolution: AlertResolution | None = attribute("Why it is over.")
    resolved_value: float | None = attribute(
        "Value of the measure when it was resolved; null where there was nothing to measure."
    )

    uuid = bare_uuid()
    deliveries = rows(DELIVERIES, alert_deliveries.c.alert_id, description="How it was told, newest first.")

    @field("Bare UUID of the rule.")
    def rule_uuid(self) -> UUID:
        return self.rule_key

    @field("Query that shows what to look at.")
    def look_at(self) -> AlertQueryDocument:
        return AlertQueryDocument(**look_at(self.type.value, self.since or self.fired_at))

    rule = to_one("rule", "rule_key", "The rule as it is now, even if it was deleted.")
    current_value = _former("value", float, "Value of the measure.")
    triggered_at = _former("fired_at", datetime, "When it fired.")


def rule_key(value: str) -> UUID:
    """The key in the argument `ruleId`. Raises `InvalidInput`."""
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
        arguments={"rule_id": Argument(strawberry.ID | None, "Only alerts of this rule.", by=rule_key)},
    )
