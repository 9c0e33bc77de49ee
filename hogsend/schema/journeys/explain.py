"""`Journey.explainEnrollment` in the schema."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import strawberry

from hogsend.graphql.rows import to_one
from hogsend.schema.decisions.enums import Reason
from hogsend.schema.journeys.enums import GuardOutcome


@strawberry.type(description="A guard of a journey, and its outcome for one contact.")
class EnrollmentGuard:
    name: str = strawberry.field(description="Name of the guard.")
    outcome: GuardOutcome = strawberry.field(description="Its outcome.")
    expected: str = strawberry.field(description="What it expects, in words.")
    actual: str = strawberry.field(description="What it found, in words.")
    reason: Reason = strawberry.field(description="Reason that a decision records when it fails.")


@strawberry.type(description="Why a contact is, or would be, enrolled in a journey or not.")
class EnrollmentExplanation:
    recorded: bool = strawberry.field(
        description="Whether this is the decision recorded at `at`; else the guards were evaluated just now."
    )
    at: datetime = strawberry.field(description="When the guards were evaluated.")
    enrolled: bool = strawberry.field(description="Whether the contact was, or would be, enrolled.")
    guards: list[EnrollmentGuard] = strawberry.field(description="Every guard, in order of evaluation.")
    decision_id: strawberry.Private[UUID | None]

    decision = to_one("decision", "decision_id", "The recorded decision.")
