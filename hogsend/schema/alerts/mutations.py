"""Make, change, mute, delete and try out alert rules."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from hogsend.access.audit import Action, Resource
from hogsend.access.caller import Scope
from hogsend.access.idempotency import Claim
from hogsend.alerts.actions import (
    FIELDS,
    create_rule,
    delete_rule,
    mute_rule,
    rotate_secret,
    update_rule,
)
from hogsend.alerts.rule_types import AlertRuleType
from hogsend.alerts.test_rule import send_test
from hogsend.graphql import ids
from hogsend.graphql.context import Context, Info
from hogsend.graphql.mutations import Answer, idempotency_key, mutation, named_by_id, part, payload
from hogsend.schema.alerts.types import AlertChannel, AlertRule

_CONFIG = "What the channel must know; see `AlertChannel`."
_THRESHOLD = "Where it fires: a rate from 0 to 1, a number, or seconds or hours, by its type."
_COOLDOWN = "How long it is quiet after it fired."
_ENABLED = "Whether it is watched at all."
_ID = "Its id, or its bare UUID."


@strawberry.input(description="A rule to make.")
class AlertRuleCreateInput:
    name: str = strawberry.field(description="What to call it.")
    type: AlertRuleType = strawberry.field(description="What it watches.")
    threshold: float = strawberry.field(description=_THRESHOLD)
    channel: AlertChannel = strawberry.field(description="How people are told.")
    channel_config: JSON = strawberry.field(description=_CONFIG)
    cooldown_minutes: int = strawberry.field(default=60, description=_COOLDOWN)
    enabled: bool = strawberry.field(default=True, description=_ENABLED)


@strawberry.input(description="What to change of a rule; what is left out stays.")
class AlertRuleUpdateInput:
    id: strawberry.ID = strawberry.field(description=_ID)
    name: str | None = strawberry.field(default=strawberry.UNSET, description="What to call it.")
    type: AlertRuleType | None = strawberry.field(default=strawberry.UNSET, description="What it watches.")
    threshold: float | None = strawberry.field(default=strawberry.UNSET, description=_THRESHOLD)
    channel: AlertChannel | None = strawberry.field(
        default=strawberry.UNSET, description="How people are told; its `channelConfig` goes with it."
    )
    channel_config: JSON | None = strawberry.field(
        default=strawberry.UNSET,
        description=f"{_CONFIG} A URL that is given as its own mask stays as it is stored; any other mask is refused.",
    )
    cooldown_minutes: int | None = strawberry.field(default=strawberry.UNSET, description=_COOLDOWN)
    enabled: bool | None = strawberry.field(default=strawberry.UNSET, description=_ENABLED)


@strawberry.input(description="A rule to delete.")
class AlertRuleDeleteInput:
    id: strawberry.ID = strawberry.field(description=_ID)


@strawberry.input(description="A rule to mute, or to let speak again.")
class AlertRuleMuteInput:
    id: strawberry.ID = strawberry.field(description=_ID)
    until: datetime | None = strawberry.field(
        description="Instant of real time until which its notifications are held back; null ends the mute."
    )


@strawberry.input(description="A rule to give a new secret.")
class AlertRuleSecretRotateInput:
    id: strawberry.ID = strawberry.field(description=_ID)


@strawberry.input(description="A rule whose channel to try out.")
class AlertRuleTestInput:
    id: strawberry.ID = strawberry.field(description=_ID)
    idempotency_key: str | None = idempotency_key("tell")


@payload("What `alertRuleCreate` made.", errors="INVALID")
class AlertRuleCreatePayload:
    rule: AlertRule | None = part("The rule; null where it was refused.")
    signing_secret: str | None = part(
        "The secret that its webhooks are signed with, told this once; null for another channel."
    )


@payload("What `alertRuleUpdate` did.", errors="INVALID NOT_FOUND")
class AlertRuleUpdatePayload:
    rule: AlertRule | None = part("The rule; null where it was refused.")


@payload("What `alertRuleDelete` did.", errors="NOT_FOUND")
class AlertRuleDeletePayload:
    deleted_id: strawberry.ID | None = part("The rule that is gone; its history stays.")


@payload("What `alertRuleMute` did.", errors="INVALID NOT_FOUND")
class AlertRuleMutePayload:
    rule: AlertRule | None = part("The rule; null where it was refused.")


@payload("What `alertRuleSecretRotate` did.", errors="NOT_FOUND")
class AlertRuleSecretRotatePayload:
    rule: AlertRule | None = part("The rule; null where it was refused.")
    signing_secret: str | None = part(
        "The secret that its webhooks are signed with from now on, told this once."
    )


@payload("How `alertRuleTest` went.", errors="INVALID NOT_FOUND", keyed=True)
class AlertRuleTestPayload:
    delivered: bool | None = part("Whether the channel took it.")
    error: str | None = part("Why the channel did not.")

    @classmethod
    async def of(cls, _context: Context, answer: Answer) -> AlertRuleTestPayload:
        return cls(delivered=answer["delivered"], error=answer["error"])


def _key(id: str) -> UUID:
    return ids.key_of(id, AlertRule.prefix, "Alert rule")


def _columns(input: AlertRuleCreateInput | AlertRuleUpdateInput) -> dict[str, Any]:
    """What was given, by column; enums as their words."""
    given = {name: getattr(input, name) for name in FIELDS}
    return {
        name: value.value if isinstance(value, Enum) else value
        for name, value in given.items()
        if value is not strawberry.UNSET
    }


@strawberry.type
class AlertMutation:
    @mutation(
        AlertRuleCreatePayload,
        scope=Scope.FULL_ADMIN,
        audits=(Action.CREATE, Resource.ALERT_RULE, None),
        description="Make an alert rule. A URL that is not https, or that leads into a private network, is refused.",
    )
    async def alert_rule_create(self, info: Info, input: AlertRuleCreateInput) -> AlertRuleCreatePayload:
        row = await create_rule(info.context.runtime, _columns(input))
        told = row["signing_secret"] if row["channel"] == AlertChannel.WEBHOOK.value else None
        return AlertRuleCreatePayload(rule=AlertRule.of(row), signing_secret=told)

    @mutation(
        AlertRuleUpdatePayload,
        scope=Scope.FULL_ADMIN,
        audits=(Action.UPDATE, Resource.ALERT_RULE, named_by_id(AlertRule.prefix)),
        description="Change an alert rule. The whole that comes of it must fit together.",
    )
    async def alert_rule_update(self, info: Info, input: AlertRuleUpdateInput) -> AlertRuleUpdatePayload:
        row = await update_rule(info.context.runtime, _key(input.id), _columns(input))
        return AlertRuleUpdatePayload(rule=AlertRule.of(row))

    @mutation(
        AlertRuleDeletePayload,
        scope=Scope.FULL_ADMIN,
        audits=(Action.DELETE, Resource.ALERT_RULE, named_by_id(AlertRule.prefix)),
        description="Delete an alert rule. What it fired stays.",
    )
    async def alert_rule_delete(self, info: Info, input: AlertRuleDeleteInput) -> AlertRuleDeletePayload:
        key = _key(input.id)
        await delete_rule(info.context.runtime, key)
        return AlertRuleDeletePayload(deleted_id=strawberry.ID(ids.encode(AlertRule.prefix, key)))

    @mutation(
        AlertRuleMutePayload,
        scope=Scope.FULL_ADMIN,
        audits=(Action.UPDATE, Resource.ALERT_RULE, named_by_id(AlertRule.prefix)),
        description="Hold an alert rule's notifications back until an instant, or let them out again. It goes on firing"
        " and resolving; what still matters when the mute ends is told then.",
    )
    async def alert_rule_mute(self, info: Info, input: AlertRuleMuteInput) -> AlertRuleMutePayload:
        row = await mute_rule(info.context.runtime, _key(input.id), input.until)
        return AlertRuleMutePayload(rule=AlertRule.of(row))

    @mutation(
        AlertRuleSecretRotatePayload,
        scope=Scope.FULL_ADMIN,
        audits=(Action.UPDATE, Resource.ALERT_RULE, named_by_id(AlertRule.prefix)),
        description="Sign an alert rule's webhooks with a new secret from now on.",
    )
    async def alert_rule_secret_rotate(
        self, info: Info, input: AlertRuleSecretRotateInput
    ) -> AlertRuleSecretRotatePayload:
        row = await rotate_secret(info.context.runtime, _key(input.id))
        return AlertRuleSecretRotatePayload(rule=AlertRule.of(row), signing_secret=row["signing_secret"])

    @mutation(
        AlertRuleTestPayload,
        scope=Scope.FULL_ADMIN,
        audits=(Action.UPDATE, Resource.ALERT_RULE, named_by_id(AlertRule.prefix)),
        description="Tell a rule's channel what the rule sees now, marked as a test. Nothing fires.",
        cost=100,
        several=True,
    )
    async def alert_rule_test(self, info: Info, input: AlertRuleTestInput, claim: Claim) -> Answer:
        return asdict(await send_test(info.context.runtime, _key(input.id)))
