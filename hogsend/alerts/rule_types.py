"""The types of alert rules: the word, what it watches, what people are told, its measure, which side is worse, and
the query that shows what to look at.

Everything that depends on a rule's type derives from `RULE_TYPES`: the GraphQL enum, REST's words, notices, the check
of input. A new type is an entry here, and a migration of the constraint on `alert_rules.type`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.alerts.measures import (
    FINDINGS_OVER,
    Count,
    Hours,
    Measure,
    Seconds,
    SendRate,
    failures,
    findings,
    letters,
    measure_all,
    overdue,
    silence,
    unsent,
)
from hogsend.runtime import Runtime


class AlertRuleType(Enum):
    BOUNCE_RATE_EXCEEDED = "bounce_rate_exceeded"
    JOURNEY_FAILURE_SPIKE = "journey_failure_spike"
    DELIVERY_ISSUE = "delivery_issue"
    HIGH_COMPLAINT_RATE = "high_complaint_rate"
    DLQ_GROWTH = "dlq_growth"
    JOURNEY_SILENT = "journey_silent"
    ENGINE_LAG = "engine_lag"
    QUEUE_LAG = "queue_lag"
    INVARIANT_BROKEN = "invariant_broken"


@dataclass(frozen=True)
class RuleType:
    """`watches` completes "fires when …" with the threshold; `said` tells the value that was found.

    `worse` is the side of the threshold on which a rule fires. `document` is a query for what to look at; its
    variable `$from`, where it has one, is where the measured window began.
    """

    watches: str
    said: str
    measure: Measure
    document: str
    worse: Literal["above", "below"] = "above"

    @property
    def description(self) -> str:
        return f"{self.watches} is {self.worse} the threshold."

    def is_past(self, value: float, threshold: float) -> bool:
        """Whether a rule with this threshold fires at this value."""
        return value > threshold if self.worse == "above" else value < threshold

    def sentence(self, value: float, threshold: float) -> str:
        """What people are told: the value, and what the rule allows or wants."""
        found = self.measure.shown(value)
        held_to = self.measure.shown(threshold)
        return (
            f"{self.said.format(found)}; the rule {'allows' if self.worse == 'above' else 'wants'} {held_to}."
        )


def _emails(name: str, narrowed: str, more: str = "") -> str:
    return (
        f"query {name}($from: DateTime!) {{\n"
        f"  emails(filter: {{ {narrowed}, from: $from }}, first: 50) {{\n"
        f"    totalCount\n    nodes {{ id toEmail templateKey journeyId status createdAt {more}error }}\n"
        "  }\n}"
    )


RULE_TYPES: Mapping[AlertRuleType, RuleType] = {
    AlertRuleType.BOUNCE_RATE_EXCEEDED: RuleType(
        watches="The bounce rate of the last 30 days",
        said="The bounce rate of the last 30 days is {}",
        measure=SendRate("bounced"),
        document=_emails("BouncedEmails", "engagement: BOUNCED", "bouncedAt "),
    ),
    AlertRuleType.JOURNEY_FAILURE_SPIKE: RuleType(
        watches="The number of runs that failed in the last hour",
        said="{} runs of journeys failed in the last hour",
        measure=Count(failures),
        document="""query FailedRuns($from: DateTime!) {
  decisions(filter: { kinds: [FAILED, BLOCKED], from: $from }, first: 50) {
    totalCount
    nodes { at kind reason detail journeyId state { id userEmail status errorMessage } }
  }
}""",
    ),
    AlertRuleType.DELIVERY_ISSUE: RuleType(
        watches="The delivery rate of the last 30 days",
        said="The delivery rate of the last 30 days is {}",
        measure=SendRate("delivered"),
        document=_emails("UndeliveredEmails", "status: SENT", "sentAt "),
        worse="below",
    ),
    AlertRuleType.HIGH_COMPLAINT_RATE: RuleType(
        watches="The complaint rate of the last 30 days",
        said="The complaint rate of the last 30 days is {}",
        measure=SendRate("complained"),
        document=_emails("EmailsMarkedAsSpam", "engagement: COMPLAINED", "complainedAt "),
    ),
    AlertRuleType.DLQ_GROWTH: RuleType(
        watches="The number of dead letters added in the last hour",
        said="{} dead letters were added in the last hour",
        measure=Count(letters),
        document="""query PendingDeadLetters {
  deadLetters(filter: { status: PENDING }, first: 50) {
    totalCount
    nodes { id source sourceId error retryCount createdAt }
  }
}""",
    ),
    AlertRuleType.JOURNEY_SILENT: RuleType(
        watches="The number of hours since anybody entered a journey that somebody enters every day",
        said="Nobody has entered a journey that somebody enters every day for {}",
        measure=Hours(silence),
        document="""query LastEnrolments {
  journeys(enabled: true) {
    nodes { id name trigger { event } states(first: 1) { nodes { id createdAt } } }
  }
}""",
    ),
    AlertRuleType.ENGINE_LAG: RuleType(
        watches="The number of seconds that the oldest run or job that is due has waited",
        said="The oldest run or job that is due has waited {}",
        measure=Seconds(overdue),
        document="""query RunsUnderWay {
  journeyStates(filter: { status: [ACTIVE, WAITING] }, first: 50) {
    totalCount
    nodes { id journeyId userEmail status currentNodeId waitingFor { until } updatedAt }
  }
}""",
    ),
    AlertRuleType.QUEUE_LAG: RuleType(
        watches="The number of seconds that the oldest unsent email has waited",
        said="The oldest unsent email has waited {}",
        measure=Seconds(unsent),
        document="""query UnsentEmails {
  emails(filter: { status: QUEUED }, sort: CREATED_AT, order: ASC, first: 50) {
    totalCount
    nodes { id toEmail templateKey journeyId status attempts error createdAt }
  }
}""",
    ),
    AlertRuleType.INVARIANT_BROKEN: RuleType(
        watches="The number of broken invariants found in the last day",
        said="{} broken invariants were found in the last day",
        measure=Count(findings, over=FINDINGS_OVER),
        document="""query BrokenInvariants {
  invariantFindings(first: 50) {
    totalCount
    nodes { kind journeyId foundAt settledAt event { id name } decision { id } email { id status } }
  }
}""",
    ),
}
RULE_WORDS: tuple[str, ...] = tuple(rule_type.value for rule_type in AlertRuleType)


def of_type(word: str) -> RuleType:
    """The type of a rule, by its word."""
    return RULE_TYPES[AlertRuleType(word)]


async def current_values(
    conn: AsyncConnection, runtime: Runtime, words: Collection[str]
) -> dict[str, float | None]:
    """What these types of rules would now compare, by word; None where there is nothing to measure."""
    asked = list(dict.fromkeys(words))
    values = await measure_all(conn, runtime, [of_type(word).measure for word in asked])
    return dict(zip(asked, values, strict=True))
