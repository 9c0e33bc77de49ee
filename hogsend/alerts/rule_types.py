"""The types of alert rules: the word, what it watches, what people are told, its measure and which side is worse.

Everything that depends on a rule's type derives from `RULE_TYPES`: the GraphQL enum, REST's words, notices, the check
of input. A new type is an entry here, and a migration of the constraint on `alert_rules.type`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.alerts.measures import DecisionCount, Measure, SendRate, measure_all
from hogsend.decisions.reasons import DecisionKind
from hogsend.tables.emails import email_sends


class AlertRuleType(Enum):
    BOUNCE_RATE_EXCEEDED = "bounce_rate_exceeded"
    JOURNEY_FAILURE_SPIKE = "journey_failure_spike"
    DELIVERY_ISSUE = "delivery_issue"
    HIGH_COMPLAINT_RATE = "high_complaint_rate"


@dataclass(frozen=True)
class RuleType:
    """`watches` completes "fires when …" with the threshold; `said` tells the value that was found.

    `worse` is the side of the threshold on which a rule fires.
    """

    watches: str
    said: str
    measure: Measure
    worse: Literal["above", "below"] = "above"

    @property
    def description(self) -> str:
        return f"{self.watches} is {self.worse} the threshold."

    def sentence(self, value: float, threshold: float) -> str:
        """What people are told: the value, and what the rule allows or wants."""
        found = self.measure.shown(value)
        held_to = self.measure.shown(threshold)
        return (
            f"{self.said.format(found)}; the rule {'allows' if self.worse == 'above' else 'wants'} {held_to}."
        )


RULE_TYPES: Mapping[AlertRuleType, RuleType] = {
    AlertRuleType.BOUNCE_RATE_EXCEEDED: RuleType(
        watches="The bounce rate of the last 30 days",
        said="The bounce rate of the last 30 days is {}",
        measure=SendRate(email_sends.c.bounced_at),
    ),
    AlertRuleType.JOURNEY_FAILURE_SPIKE: RuleType(
        watches="The number of runs that failed in the last hour",
        said="{} runs of journeys failed in the last hour",
        measure=DecisionCount(DecisionKind.FAILED, DecisionKind.BLOCKED),
    ),
    AlertRuleType.DELIVERY_ISSUE: RuleType(
        watches="The delivery rate of the last 30 days",
        said="The delivery rate of the last 30 days is {}",
        measure=SendRate(email_sends.c.delivered_at, of_nothing=None),
        worse="below",
    ),
    AlertRuleType.HIGH_COMPLAINT_RATE: RuleType(
        watches="The complaint rate of the last 30 days",
        said="The complaint rate of the last 30 days is {}",
        measure=SendRate(email_sends.c.complained_at),
    ),
}
RULE_WORDS: tuple[str, ...] = tuple(rule_type.value for rule_type in AlertRuleType)


async def current_values(conn: AsyncConnection, now: datetime) -> dict[str, float | None]:
    """What each type of rule watches, by its word, at `now` (product time); None where there is nothing to measure."""
    values = await measure_all(conn, now, [of_type.measure for of_type in RULE_TYPES.values()])
    return dict(zip((rule_type.value for rule_type in RULE_TYPES), values, strict=True))
