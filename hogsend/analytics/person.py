"""PostHog's view of a person and an event: distinct id and properties."""

from __future__ import annotations

from typing import Any

from hogsend.storage.database import Record


def distinct_id(row: Record) -> str:
    """What PostHog knows the person by: what the product does, else what PostHog called them, else our own id."""
    return str(row["external_id"] or row["anonymous_id"] or row["contact_id"])


def event_properties(row: Record) -> dict[str, Any]:
    """The event's own properties; the person's email address beside them, unless the event sets one itself."""
    properties = dict(row["properties"])
    person = properties.get("$set")
    if row["email"] and (person is None or isinstance(person, dict)):
        properties["$set"] = {"email": row["email"], **(person or {})}
    return properties
