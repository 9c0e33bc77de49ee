"""Lists of runs, their steps and waits, and how many runs a journey has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select

from hogsend.contacts.lookup import id_of
from hogsend.runs.status import WIRE_STATUSES
from hogsend.storage.collections import Collection, Sort, equals
from hogsend.tables.journeys import journey_settings, journey_states, journey_steps, journey_waits

_s = journey_states.c


def _shown_as(statuses: Sequence[str]) -> ColumnElement[bool]:
    wanted = [status for shown in statuses for status in WIRE_STATUSES[shown]]
    return _s.status == wanted[0] if len(wanted) == 1 else _s.status.in_(wanted)


STATES = Collection(
    "states",
    "state",
    columns=(
        _s.id,
        _s.journey_id,
        _s.contact_id,
        _s.email,
        _s.status,
        _s.version,
        _s.wake_at,
        _s.current_node,
        _s.context,
        _s.entry_count,
        _s.trigger_event_id,
        _s.engine_run_id,
        _s.error,
        _s.ended_reason,
        _s.completed_at,
        _s.exited_at,
        _s.ended_at,
        _s.created_at,
        _s.updated_at,
    ),
    key=_s.id,
    sorts={"created_at": Sort(_s.created_at)},
    filters={
        **equals(_s.journey_id),
        "statuses": _shown_as,
        "stuck": lambda stuck: (_s.status == "blocked") if stuck else (_s.status != "blocked"),
        "user_id": lambda ref: _s.contact_id == id_of(ref),
    },
)

STEPS = Collection.of("steps", "log", journey_steps, sorts=journey_steps.c.seq, descending=False)
WAITS = Collection.of(
    "waits", "wait", journey_waits, key=journey_waits.c.state_id, sorts=journey_waits.c.deadline
)
OVERRIDES = Collection.of(
    "overrides",
    "override",
    journey_settings,
    key=journey_settings.c.journey_id,
    sorts=journey_settings.c.updated_at,
)


def counts(journey_ids: Sequence[str]) -> Select[Any]:
    """How many runs each journey has in each status."""
    return (
        select(_s.journey_id, _s.status, func.count().label("runs"))
        .where(_s.journey_id.in_(journey_ids))
        .group_by(_s.journey_id, _s.status)
    )
