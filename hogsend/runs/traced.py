"""Traces of a run, carried by its row: from the event that began it to each slice, linked across what it waits for.

`journey_states.trace` holds the context that the next slice goes on from: the event's at entry, then the last slice's;
and behind it that of an event that ended a wait.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from sqlalchemy import RowMapping

from hogsend.telemetry import traces
from hogsend.telemetry.traces import Span

_CONTEXT_LENGTH = 55

# The column where an event ended a wait: what it held, and the event's context where it has one.
WITH_EVENTS_TRACE = (
    "CASE WHEN event_trace IS NULL THEN trace"
    f" ELSE concat(left(trace, {_CONTEXT_LENGTH}), ' ', event_trace) END"
)


def slice_span(run: RowMapping) -> AbstractContextManager[Span]:
    """A span for one slice of a claimed run.

    The first one, and one that an event brought about, go on in that event's trace. One that time brought about
    begins a trace, linked to the slice before: a trace that is open for months is of no use to anybody.
    """
    before = (run["trace"] or "").split()
    began_now = run["current_node"] is None
    goes_on = before[-1] if before and (began_now or len(before) > 1) else None
    return traces.span(
        f"journey {run['journey_id']}",
        kind="consumer",
        parent=goes_on,
        links=[context for context in before if context != goes_on],
        attributes={
            "hogsend.run_id": str(run["id"]),
            "hogsend.journey_id": run["journey_id"],
            "hogsend.epoch": run["epoch"],
        },
        is_root=goes_on is None,
    )
