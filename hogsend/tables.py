"""Every table of Hogsend, so that `metadata` is whole: Alembic and the tests import this."""

from hogsend.access import tables as access
from hogsend.alerts import tables as alerts
from hogsend.contacts import tables as contacts
from hogsend.deadletters import tables as deadletters
from hogsend.decisions import tables as decisions
from hogsend.emails import tables as emails
from hogsend.engine import tables as engine
from hogsend.events import tables as events
from hogsend.journeys import tables as journeys
from hogsend.realtime import tables as realtime
from hogsend.storage.metadata import metadata

__all__ = [
    "access",
    "alerts",
    "contacts",
    "deadletters",
    "decisions",
    "emails",
    "engine",
    "events",
    "journeys",
    "metadata",
    "realtime",
]
