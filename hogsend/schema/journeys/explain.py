"""`Journey.explainEnrollment` on the wire."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from uuid import UUID

import strawberry

from hogsend.enrollment.explain import Explanation
from hogsend.enrollment.guards import Guard
from hogsend.graphql.context import Info
from hogsend.graphql.enums import described_enum
from hogsend.graphql.fields import field
from hogsend.graphql.node import link
from hogsend.schema.decisions.enums import Reason
from hogsend.schema.refs import DecisionRef


class GuardOutcome(Enum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_REACHED = "not_reached"


described_enum(
    GuardOutcome,
    "GuardOutcome",
    "What one guard said.",
    {
        GuardOutcome.PASSED: "What it expects is so.",
        GuardOutcome.FAILED: "What it expects is not so: this kept the person out.",
        GuardOutcome.NOT_REACHED: "Not asked, because one before it failed.",
    },
)


@strawberry.type(description="One guard of a journey, and what it said.")
class EnrollmentGuard:
    name: str = strawberry.field(description="What it looks at.")
    outcome: GuardOutcome = strawberry.field(description="What it said.")
    expected: str = strawberry.field(description="What it wants, in words.")
    actual: str = strawberry.field(description="What there was, in words.")
    reason: Reason = strawberry.field(description="The reason that a failure of it is recorded with.")

    @classmethod
    def showing(cls, guard: Guard) -> EnrollmentGuard:
        return cls(
            name=guard.name,
            outcome=GuardOutcome(guard.outcome),
            expected=guard.expected,
            actual=guard.actual,
            reason=guard.reason,
        )


@strawberry.type(description="Why somebody is, or would be, let into a journey or not.")
class EnrollmentExplanation:
    recorded: bool = strawberry.field(
        description="True where this is what was decided at `at`; false where the guards were asked just now."
    )
    at: datetime = strawberry.field(description="When it was decided, or asked.")
    enrolled: bool = strawberry.field(description="Whether the person was, or would be, let in.")
    guards: list[EnrollmentGuard] = strawberry.field(description="Every guard, in the order of asking.")
    decision_id: strawberry.Private[UUID | None]

    @field("The recorded verdict.")
    async def decision(self, info: Info) -> DecisionRef | None:
        return await link(info.context, "decision", self.decision_id)  # type: ignore[no-any-return]

    @classmethod
    def showing(cls, found: Explanation) -> EnrollmentExplanation:
        return cls(
            recorded=found.recorded,
            at=found.at,
            enrolled=found.enrolled,
            guards=[EnrollmentGuard.showing(guard) for guard in found.guards],
            decision_id=found.decision_id,
        )
