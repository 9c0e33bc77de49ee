"""The state machine of a run: a table of the transitions that its status may make, and the UPDATE of each.

A run is entered as `pending`, by an insert. Whoever drives it holds the epoch that claiming raised; ending or resuming
it raises the epoch too, so that a driver of before is fenced at its next touch.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Update, update

from hogsend.tables.journeys import DRIVEN_STATUSES, LIVE_STATUSES, STATUSES, STUCK_STATUSES, journey_states

ENTERED = "pending"

# The statuses of the wire, and those of the table that each stands for.
WIRE_STATUSES = {
    "active": ("active", "pending"),
    "waiting": ("waiting",),
    "completed": ("completed",),
    "exited": ("exited",),
    "failed": STUCK_STATUSES,
}
WIRE_STATUS = {status: shown for shown, statuses in WIRE_STATUSES.items() for status in statuses}


@dataclass(frozen=True)
class Transition:
    """One edge: `sources` to `target`. `guard` is what its UPDATE asks besides the status."""

    sources: tuple[str, ...]
    target: str
    guard: str
    why: str
    raises_epoch: bool = True


TRANSITIONS = {
    "claim": Transition(
        DRIVEN_STATUSES, "active", "no lease, or one that ran out", "a driver takes the run for one slice"
    ),
    "park": Transition(
        ("active",), "waiting", "the driver's epoch", "it sleeps or waits", raises_epoch=False
    ),
    "release": Transition(
        ("active",), "waiting", "the driver's epoch", "a slice is tried again later", raises_epoch=False
    ),
    "complete": Transition(("active",), "completed", "the driver's epoch", "the function returned"),
    "fail": Transition(("active",), "failed", "the driver's epoch", "the author's code or a step broke"),
    "block": Transition(
        ("active",), "blocked", "the driver's epoch", "nobody may go on without a person's word"
    ),
    # Whoever ends a run from outside asks nobody: it may be driven, parked, or stuck.
    "exit": Transition(
        LIVE_STATUSES, "exited", "the row's lock", "an exit event, an operator, a deletion, a merge"
    ),
    # Failed runs come back too: the journal knows how far they came.
    "resume": Transition(STUCK_STATUSES, "waiting", "the row's lock", "an operator mended what it stuck in"),
}


def transition(name: str) -> Update:
    """The UPDATE that makes a transition: add its guard with `where`, what else changes with `values`."""
    edge = TRANSITIONS[name]
    states = journey_states.c
    statement = update(journey_states).where(states.status.in_(edge.sources)).values(status=edge.target)
    return statement.values(epoch=states.epoch + 1) if edge.raises_epoch else statement


def may(source: str, target: str) -> bool:
    """Whether some transition leads from one status to another."""
    return any(source in edge.sources and edge.target == target for edge in TRANSITIONS.values())


assert {status for edge in TRANSITIONS.values() for status in (*edge.sources, edge.target)} == set(STATUSES)
