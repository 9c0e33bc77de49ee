"""Enums about journeys and their runs, and the argument that picks runs by status."""

from __future__ import annotations

from hogsend.graphql.enums import WireEnum, wire_enum
from hogsend.graphql.rows import Argument


@wire_enum("Status of a run.")
class JourneyStateStatus(WireEnum):
    ACTIVE = "active", "Running, or about to run."
    WAITING = "waiting", "Waiting for a time or for an event."
    COMPLETED = "completed", "Ran to its end."
    EXITED = "exited", "Ended early, by an exit event or an operator."
    FAILED = "failed", "Failed, or blocked until an operator decides (`blocked`)."


@wire_enum("How often a contact may enter a journey.")
class EntryLimit(WireEnum):
    ONCE = "once", "Once ever."
    ONCE_PER_PERIOD = "once_per_period", "Once within `entryPeriod`."
    UNLIMITED = "unlimited", "Each time that the trigger event comes, one run at a time."


@wire_enum("Outcome of a guard.")
class GuardOutcome(WireEnum):
    PASSED = "passed", "What it expects holds."
    FAILED = "failed", "What it expects does not hold: this kept the contact out."
    NOT_REACHED = "not_reached", "Not evaluated, because an earlier guard failed."


STATUS_ARGUMENT = Argument(
    list[JourneyStateStatus] | None, "Only runs with one of these statuses.", by="statuses"
)
