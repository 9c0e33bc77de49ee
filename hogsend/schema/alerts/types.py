"""Alert rules and what they fired, on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Annotated, ClassVar
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from hogsend.access.caller import Scope
from hogsend.alerts.rule_types import RULE_TYPES, AlertRuleType, current_values
from hogsend.errors import InvalidInput
from hogsend.graphql import ids
from hogsend.graphql.connections import connection
from hogsend.graphql.context import Context, Info
from hogsend.graphql.enums import described_enum
from hogsend.graphql.fields import described, field
from hogsend.graphql.node import Columns, Node, bare_uuid, by_key
from hogsend.schema.alerts.collections import ALERTS, RULES
from hogsend.storage.collections import Selection
from hogsend.tables.alerts import alerts


class AlertChannel(Enum):
    SLACK = "slack"
    WEBHOOK = "webhook"
    EMAIL = "email"


described_enum(
    AlertRuleType,
    "AlertRuleType",
    "What a rule watches.",
    {rule_type: of_type.description for rule_type, of_type in RULE_TYPES.items()},
)
described_enum(
    AlertChannel,
    "AlertChannel",
    "How people are told.",
    {
        AlertChannel.SLACK: "A message in Slack. `channelConfig`: `{webhookUrl, channel?}`, the URL with https.",
        AlertChannel.WEBHOOK: "A POST of JSON. `channelConfig`: `{url}`.",
        AlertChannel.EMAIL: "An email. `channelConfig`: `{to}`.",
    },
)


@strawberry.type(description="What is watched, and who is told.")
class AlertRule(Node):
    prefix: ClassVar[str] = "rule"
    collection = RULES
    columns: ClassVar[Columns] = {"type": AlertRuleType, "channel": AlertChannel}

    name: str = strawberry.field(description="What people call it.")
    type: AlertRuleType = strawberry.field(description="What it watches.")
    threshold: float = strawberry.field(
        description="Where it fires: a rate from 0 to 1, or a number of failures."
    )
    channel: AlertChannel = strawberry.field(description="How people are told.")
    channel_config: JSON = strawberry.field(description="What the channel must know; see `AlertChannel`.")
    cooldown_minutes: int = strawberry.field(description="How long it is quiet after it fired.")
    enabled: bool = strawberry.field(description="Whether it is watched at all.")
    last_triggered_at: datetime | None = strawberry.field(description="When it last fired.")
    created_at: datetime = strawberry.field(description="When it was made.")
    updated_at: datetime = strawberry.field(description="When it last changed.")
    deleted_at: datetime | None = strawberry.field(description="When it was deleted; its history stays.")

    uuid = bare_uuid()

    @connection("alert", description="What it fired, newest first.")
    def alerts(self) -> Selection:
        return ALERTS.under(alerts.c.rule_id, self.key)

    @field("What it watches, now; null where there is nothing to measure yet.")
    async def current_value(self, info: Info) -> float | None:
        return await _current_value(info.context, self.type.value)


async def _current_value(context: Context, kind: str) -> float | None:
    """One read for all rules of an operation."""

    async def load(kinds: list[str]) -> Sequence[float | None]:
        async with context.connection() as conn:
            values = await current_values(conn, context.runtime.clock.now())
        return [values[kind] for kind in kinds]

    return await context.loader("alert_values", load).load(kind)


@strawberry.type(description="One firing of a rule, as the rule then was.")
class Alert(Node):
    prefix: ClassVar[str] = "alert"
    collection = ALERTS
    columns: ClassVar[Columns] = {"rule_key": "rule_id", "type": AlertRuleType, "channel": AlertChannel}

    rule_key: strawberry.Private[UUID]
    rule_name: str = strawberry.field(description="What the rule was called.")
    type: AlertRuleType = strawberry.field(description="What it watched.")
    current_value: float = strawberry.field(description="What it saw.")
    threshold: float = strawberry.field(description="Where it fired.")
    channel: AlertChannel = strawberry.field(description="How people were told.")
    delivered: bool = strawberry.field(description="Whether the channel took it.")
    error: str | None = strawberry.field(description="Why the channel did not.")
    triggered_at: datetime = strawberry.field(description="When it fired.")

    uuid = bare_uuid()

    @field("The bare UUID of the rule.")
    def rule_uuid(self) -> UUID:
        return self.rule_key

    @field("The rule that fired it, as it is now; also where it was deleted.")
    async def rule(self, info: Info) -> AlertRule | None:
        return await by_key(info.context, AlertRule, self.rule_key)


@strawberry.type
class AlertQuery:
    @connection("rule", scope=Scope.READ, description="Alert rules, newest first.")
    def alert_rules(self) -> Selection:
        return RULES.all()

    @connection("alert", scope=Scope.READ, description="What alert rules fired, newest first.")
    def alerts(
        self, rule_id: Annotated[strawberry.ID | None, described("Only what this rule fired.")] = None
    ) -> Selection:
        if rule_id is None:
            return ALERTS.all()
        key = ids.uuid_of(rule_id, AlertRule.prefix)
        if key is None:
            raise InvalidInput("ruleId", "ruleId must be the id of an alert rule")
        return ALERTS.all().filtered(rule_id=key)
