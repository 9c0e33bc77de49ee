"""Alert rules, and what they fired."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field

from hogsend.alerts.rule_types import RULE_WORDS
from hogsend.rest.models import Body, Properties
from hogsend.rest.params import PAGE, Param, Text
from hogsend.rest.shapes import listing, lowered
from hogsend.rest.table import LONGEST_INNER_LIST, AdminRoute, RequestInput

RULE = """
fragment AlertRule on AlertRule {
  id: uuid name type threshold channel channelConfig cooldownMinutes enabled lastTriggeredAt createdAt updatedAt
}
"""
ALERT = """
fragment Alert on Alert {
  id: uuid ruleId: ruleUuid ruleName type currentValue: value threshold channel delivered triggeredAt: firedAt
}
"""
ERRORS = "userErrors { field message code }"

if TYPE_CHECKING:
    RuleType = str
else:
    RuleType = Literal[RULE_WORDS]
Channel = Literal["slack", "webhook", "email"]
_CONFIG = "slack: `{webhookUrl, channel?}`; webhook: `{url}`; email: `{to}`"
_THRESHOLD = "Where it fires: a rate from 0 to 1, a number, or seconds or hours, by its type"

_rule = lowered("type", "channel")


class AlertRuleIn(Body):
    """A rule to make."""

    name: str = Field(description="What to call it", min_length=1, max_length=200)
    type: RuleType = Field(description="What it watches")
    threshold: float = Field(description=_THRESHOLD, ge=0)
    channel: Channel = Field(description="How people are told")
    channel_config: Properties = Field(description=_CONFIG)
    cooldown_minutes: int = Field(60, description="How long it is quiet after it fired", ge=0, le=525_600)
    enabled: bool = Field(True, description="Whether it is watched at all")


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema["properties"].values():
        del field["default"]


class AlertRuleChange(Body):
    """What to change; what is left out stays, so the defaults here stand for nothing."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    name: str = Field("", description="What to call it", min_length=1, max_length=200)
    type: RuleType = Field(RULE_WORDS[0], description="What it watches")
    threshold: float = Field(0, description=_THRESHOLD, ge=0)
    channel: Channel = Field("email", description="How people are told; its config goes with it")
    channel_config: Properties = Field({}, description=_CONFIG)
    cooldown_minutes: int = Field(60, description="How long it is quiet after it fired", ge=0, le=525_600)
    enabled: bool = Field(True, description="Whether it is watched at all")


def _made(given: RequestInput) -> dict[str, Any]:
    return {"input": _words(given.body.model_dump(by_alias=True))}


def _changed(given: RequestInput) -> dict[str, Any]:
    fields = given.body.model_dump(by_alias=True, exclude_unset=True)
    return {"input": {"id": given.path["id"], **_words(fields)}}


def _words(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {name: fields[name].upper() for name in ("type", "channel") if name in fields}


ROUTES = (
    AdminRoute(
        "GET /alerts/rules",
        "Alert rules, newest first",
        RULE
        + """
        query ($first: Int!) { alertRules(first: $first) { nodes { ...AlertRule } } }
        """,
        lambda data, _given: {"rules": [_rule(node) for node in data["alertRules"]["nodes"]]},
        take=lambda _given: {"first": LONGEST_INNER_LIST},
    ),
    AdminRoute(
        "POST /alerts/rules",
        "Make an alert rule",
        RULE
        + f"""
        mutation ($input: AlertRuleCreateInput!) {{
          alertRuleCreate(input: $input) {{ rule {{ ...AlertRule }} {ERRORS} }}
        }}
        """,
        lambda data, _given: {"rule": _rule(data["alertRuleCreate"]["rule"])},
        take=_made,
        body=AlertRuleIn,
        status=201,
    ),
    AdminRoute(
        "PATCH /alerts/rules/{id}",
        "Change an alert rule",
        RULE
        + f"""
        mutation ($input: AlertRuleUpdateInput!) {{
          alertRuleUpdate(input: $input) {{ rule {{ ...AlertRule }} {ERRORS} }}
        }}
        """,
        lambda data, _given: {"rule": _rule(data["alertRuleUpdate"]["rule"])},
        take=_changed,
        body=AlertRuleChange,
        not_found="Alert rule",
    ),
    AdminRoute(
        "DELETE /alerts/rules/{id}",
        "Delete an alert rule; its history stays",
        f"""
        mutation ($id: ID!) {{ alertRuleDelete(input: {{ id: $id }}) {{ {ERRORS} }} }}
        """,
        lambda _data, _given: {"deleted": True},
        not_found="Alert rule",
    ),
    AdminRoute(
        "GET /alerts/history",
        "What alert rules fired, newest first",
        ALERT
        + """
        query ($ruleId: ID, $first: Int, $offset: Int) {
          alerts(ruleId: $ruleId, first: $first, offset: $offset) { totalCount nodes { ...Alert } }
        }
        """,
        listing("alerts", "alerts", _rule),
        take=lambda given: given.page | {"ruleId": given.query["ruleId"]},
        query=(Param("ruleId", Text(), "Only what this rule fired"), *PAGE),
    ),
)
