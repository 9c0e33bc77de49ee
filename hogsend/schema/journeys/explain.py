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


@wire_type("A word of the consent ledger: what was last said about an address.", columns={"row": "seq"})
class ConsentWord:
    row: strawberry.ID = attribute(
        "Its row in the ledger, as `consent.ledger` of a decision's `detail` names it."
    )
    scope: str = attribute("What it is about: `all`, `category:<name>`, `bounce`, `complaint` or `manual`.")
    source: str = attribute("Who said so: `one-click`, `operator`, `provider`, `merge` …")
    at: datetime = attribute("When it was said.")


@wire_type("Why an email to a contact would be withheld.")
class EmailRefusal:
    reason: Reason = attribute("The reason, as a decision names it.")
    word: ConsentWord | None = attribute(
        "The word about the address that refuses; null where only the contact's own preferences do."
    )


@wire_type("Why a contact is, or would be, enrolled in a journey or not.")
class EnrollmentExplanation:
    recorded: bool = attribute(
        "Whether this is the decision recorded at `at`; else the guards were evaluated just now."
    )
    at: datetime = attribute("When the guards were evaluated.")
    enrolled: bool = attribute("Whether the contact was, or would be, enrolled.")
    guards: list[EnrollmentGuard] = attribute("Every guard, in order of evaluation.")
    email_refusal: EmailRefusal | None = attribute(
        "Why an email of the journey's category would be withheld from the contact now; null where none would."
    )
    decision_id: strawberry.Private[UUID | None]

    decision = to_one("decision", "decision_id", "The recorded decision.")
