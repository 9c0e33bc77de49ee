"""Lists of events."""

from __future__ import annotations

from hogsend.contacts.lookup import id_of
from hogsend.storage.collections import Collection, Sort, between, equals
from hogsend.tables.events import user_events

_e = user_events.c

EVENTS = Collection(
    "events",
    "event",
    columns=(_e.id, _e.contact_id, _e.name, _e.properties, _e.occurred_at, _e.received_at, _e.source),
    key=_e.id,
    sorts={"occurred_at": Sort(_e.occurred_at)},
    filters={
        **equals(_e.name),
        **between(_e.occurred_at),
        "user_id": lambda ref: _e.contact_id == id_of(ref),
    },
)
