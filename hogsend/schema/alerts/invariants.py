"""What the check of the books found: broken invariants."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import strawberry

from hogsend.access.caller import Scope
from hogsend.graphql.enums import WireEnum, wire_enum
from hogsend.graphql.fields import attribute, wire_type
from hogsend.graphql.node import Node, bare_uuid
from hogsend.graphql.rows import rows, to_one
from hogsend.schema.alerts.collections import FINDINGS


@wire_enum("What does not hold.")
class InvariantKind(WireEnum):
    EVENT_WITHOUT_DECISION = (
        "event_without_decision",
        "A trigger event that a journey which listens for it did not decide on.",
    )
    EVENT_DECIDED_TWICE = "event_decided_twice", "A trigger event that one journey decided on twice."
    DECISION_WITHOUT_SEND = "decision_without_send", "A decision to send an email that is not there."
    SEND_DECIDED_TWICE = "send_decided_twice", "An email that was decided on twice."
    SEND_WITHOUT_END = "send_without_end", "An email that is still under way after 25 hours."


@wire_type("A broken invariant: something that must hold of every event and every email, and does not.")
class InvariantFinding(
    Node,
    collection=FINDINGS,
    columns={"event_key": "event_id", "decision_key": "decision_id", "email_key": "email_id"},
):
    event_key: strawberry.Private[UUID | None]
    decision_key: strawberry.Private[UUID | None]
    email_key: strawberry.Private[UUID | None]
    kind: InvariantKind = attribute("What does not hold.")
    journey_id: str | None = attribute("Journey that it is about.")
    found_at: datetime = attribute("When it was found.")
    settled_at: datetime | None = attribute("When it was seen to hold again.")

    uuid = bare_uuid()
    event = to_one("event", "event_key", "The event that it is about.")
    decision = to_one("decision", "decision_key", "The decision that it is about.")
    email = to_one("email", "email_key", "The email that it is about.")


@strawberry.type
class InvariantQuery:
    invariant_findings = rows(
        FINDINGS,
        scope=Scope.READ,
        description="Broken invariants that the check of the books found, newest first.",
    )
