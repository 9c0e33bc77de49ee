"""Every table of Hogsend, so that `metadata` is whole: Alembic and the tests import this."""

from hogsend.storage.metadata import metadata
from hogsend.tables import (
    access,
    alerts,
    consent,
    contacts,
    deadletters,
    decisions,
    emails,
    engine,
    events,
    journeys,
    metrics,
    realtime,
)

__all__ = [
    "access",
    "alerts",
    "consent",
    "contacts",
    "deadletters",
    "decisions",
    "emails",
    "engine",
    "events",
    "journeys",
    "metadata",
    "metrics",
    "realtime",
]
