"""`Journey.explainEnrollment` in the schema."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import strawberry

from hogsend.graphql.fields import attribute, wire_type
from hogsend.graphql.rows import to_one
from hogsend.schema.decisions.enums import Reason
from hogsend.schema.journeys.enums import GuardOutcome


@wire_type("A guard of a journey, and its outcome for one contact.")
class EnrollmentGuard:
    name: str = attribute("Name of the guard.")
    outcome: GuardOutcome = attribute("Its outcome.")
    expected: str = attribute("What it expects, in words.")
    actual: str = attribute("What it found, in words.")
    reason: Reason = attribute("Reason that a decision records when it fails.")


@wire_type("Why a contact is, or would be, enrolled in a journey or not.")
class EnrollmentExplanation:
    recorded: bool = attribute(
        "Whether this is the decision recorded at `at`; else the guards were evaluated just now."
    )
    at: datetime = attribute("When the guards were evaluated.")
    enrolled: bool = attribute("Whether the contact was, or would be, enrolled.")
    guards: list[EnrollmentGuard] = attribute("Every guard, in order of evaluation.")
    decision_id: strawberry.Private[UUID | None]

    decision = to_one("decision", "decision_id", "The recorded decision.")
