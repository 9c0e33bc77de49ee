"""Admin routes that read events."""

from __future__ import annotations

from hogsend.rest.params import FROM, PAGE, TO, Param, Text
from hogsend.rest.shapes import EVENT, found, listing
from hogsend.rest.table import AdminRoute

ROUTES = (
    AdminRoute(
        "GET /events",
        "Events, the newest first by when they happened",
        EVENT
        + """
        query ($userId: String, $event: String, $from: DateTime, $to: DateTime, $first: Int, $offset: Int) {
          events(
            filter: { userId: $userId, name: $event, from: $from, to: $to }, first: $first, offset: $offset
          ) { totalCount nodes { ...Event } }
        }
        """,
        listing("events", "events"),
        query=(
            Param("userId", Text(), "Of the contact with this externalId or UUID"),
            Param("event", Text(), "Of this name"),
            FROM,
            TO,
            *PAGE,
        ),
    ),
    AdminRoute(
        "GET /events/{id}",
        "One event",
        EVENT
        + """
        query ($id: ID!) { event(id: $id) { ...Event } }
        """,
        lambda data, _given: {"event": found(data, "event", "Event")},
        not_found="Event",
    ),
)
