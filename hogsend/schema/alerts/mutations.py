"""Make, change, delete and try out alert rules."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from hogsend.access.audit import Action, Resource
from hogsend.access.caller import Scope
from hogsend.alerts.actions import FIELDS, create_rule, delete_rule, update_rule
from hogsend.alerts.test_rule import try_out
from hogsend.errors import NotFound
from hogsend.graphql import ids
from hogsend.graphql.codes import error_codes
from hogsend.graphql.context import Info
from hogsend.graphql.fields import described
from hogsend.graphql.mutations import UserError, mutation
from hogsend.schema.alerts.types import AlertChannel, AlertRule, AlertRuleType

_UNFIT = "A field has a value that it does not take, or that does not fit another."
_CONFIG = "What the channel must know; see `AlertChannel`."
_THRESHOLD = "Where it fires: a rate from 0 to 1, or a number of failures."
_COOLDOWN = "How long it is quiet after it fired."
_ENABLED = "Whether it is watched at all."
_ERRORS = "What is wrong with the input; empty where all is well."


@error_codes("alertRuleCreate", INVALID=_UNFIT)
class AlertRuleCreateErrorCode(Enum):
    INVALID = "invalid"


@error_codes("alertRuleUpdate", INVALID=_UNFIT)
class AlertRuleUpdateErrorCode(Enum):
    INVALID = "invalid"
    NOT_FOUND = "not_found"


@error_codes("alertRuleDelete")
class AlertRuleDeleteErrorCode(Enum):
    NOT_FOUND = "not_found"


@error_codes("alertRuleTest")
class AlertRuleTestErrorCode(Enum):
    INVALID = "invalid"
    NOT_FOUND = "not_found"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    IN_PROGRESS = "in_progress"


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
    id: strawberry.ID = strawberry.field(description="Its id, or its bare UUID.")
    name: str | None = strawberry.field(default=strawberry.UNSET, description="What to call it.")
    type: AlertRuleType | None = strawberry.field(default=strawberry.UNSET, description="What it watches.")
    threshold: float | None = strawberry.field(default=strawberry.UNSET, description=_THRESHOLD)
    channel: AlertChannel | None = strawberry.field(
        default=strawberry.UNSET, description="How people are told; its `channelConfig` goes with it."
    )
    channel_config: JSON | None = strawberry.field(default=strawberry.UNSET, description=_CONFIG)
    cooldown_minutes: int | None = strawberry.field(default=strawberry.UNSET, description=_COOLDOWN)
    enabled: bool | None = strawberry.field(default=strawberry.UNSET, description=_ENABLED)


@strawberry.input(description="A rule to delete.")
class AlertRuleDeleteInput:
    id: strawberry.ID = strawberry.field(description="Its id, or its bare UUID.")


@strawberry.input(description="A rule whose channel to try out.")
class AlertRuleTestInput:
    id: strawberry.ID = strawberry.field(description="Its id, or its bare UUID.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="The same key and input tell once and give the first answer again."
    )


@strawberry.type(description="What `alertRuleCreate` made.")
class AlertRuleCreatePayload:
    rule: AlertRule | None = strawberry.field(
        default=None, description="The rule; null where it was refused."
    )
    user_errors: list[UserError[AlertRuleCreateErrorCode]] = strawberry.field(
        default_factory=list, description=_ERRORS
    )


@strawberry.type(description="What `alertRuleUpdate` did.")
class AlertRuleUpdatePayload:
    rule: AlertRule | None = strawberry.field(
        default=None, description="The rule; null where it was refused."
    )
    user_errors: list[UserError[AlertRuleUpdateErrorCode]] = strawberry.field(
        default_factory=list, description=_ERRORS
    )


@strawberry.type(description="What `alertRuleDelete` did.")
class AlertRuleDeletePayload:
    deleted_id: strawberry.ID | None = strawberry.field(
        default=None, description="The rule that is gone; its history stays."
    )
    user_errors: list[UserError[AlertRuleDeleteErrorCode]] = strawberry.field(
        default_factory=list, description=_ERRORS
    )


@strawberry.type(description="How `alertRuleTest` went.")
class AlertRuleTestPayload:
    delivered: bool | None = strawberry.field(default=None, description="Whether the channel took it.")
    error: str | None = strawberry.field(default=None, description="Why the channel did not.")
    user_errors: list[UserError[AlertRuleTestErrorCode]] = strawberry.field(
        default_factory=list, description=_ERRORS
    )


def _id(input: Any) -> str:
    bare: str = input.id.removeprefix(f"{AlertRule.prefix}_")
    return bare


def _key(id: str) -> UUID:
    key = ids.uuid_of(id, AlertRule.prefix)
    if key is None:
        raise NotFound("Alert rule")
    return key


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
        scope=Scope.FULL_ADMIN,
        payload=AlertRuleCreatePayload,
        codes=AlertRuleCreateErrorCode,
        audit_action=(Action.CREATE, Resource.ALERT_RULE),
        description="Make an alert rule. A URL that leads into a private network is refused.",
    )
    async def alert_rule_create(
        self, info: Info, input: Annotated[AlertRuleCreateInput, described("The rule.")]
    ) -> AlertRuleCreatePayload:
        return AlertRuleCreatePayload(
            rule=AlertRule.of(await create_rule(info.context.runtime, _columns(input)))
        )

    @mutation(
        scope=Scope.FULL_ADMIN,
        payload=AlertRuleUpdatePayload,
        codes=AlertRuleUpdateErrorCode,
        audit_action=(Action.UPDATE, Resource.ALERT_RULE),
        names=_id,
        description="Change an alert rule. The whole that comes of it must fit together.",
    )
    async def alert_rule_update(
        self, info: Info, input: Annotated[AlertRuleUpdateInput, described("Which rule, and what.")]
    ) -> AlertRuleUpdatePayload:
        row = await update_rule(info.context.runtime, _key(input.id), _columns(input))
        return AlertRuleUpdatePayload(rule=AlertRule.of(row))

    @mutation(
        scope=Scope.FULL_ADMIN,
        payload=AlertRuleDeletePayload,
        codes=AlertRuleDeleteErrorCode,
        audit_action=(Action.DELETE, Resource.ALERT_RULE),
        names=_id,
        description="Delete an alert rule. What it fired stays.",
    )
    async def alert_rule_delete(
        self, info: Info, input: Annotated[AlertRuleDeleteInput, described("Which rule.")]
    ) -> AlertRuleDeletePayload:
        key = _key(input.id)
        await delete_rule(info.context.runtime, key)
        return AlertRuleDeletePayload(deleted_id=strawberry.ID(ids.encode(AlertRule.prefix, key)))

    @mutation(
        scope=Scope.FULL_ADMIN,
        payload=AlertRuleTestPayload,
        codes=AlertRuleTestErrorCode,
        audit_action=(Action.UPDATE, Resource.ALERT_RULE),
        names=_id,
        description="Tell a rule's channel what the rule sees now, marked as a test. Nothing fires.",
        cost=100,
    )
    async def alert_rule_test(
        self, info: Info, input: Annotated[AlertRuleTestInput, described("Which rule.")]
    ) -> AlertRuleTestPayload:
        trial = await try_out(info.context.runtime, _key(input.id), idempotency_key=input.idempotency_key)
        return AlertRuleTestPayload(delivered=trial.delivered, error=trial.error)
