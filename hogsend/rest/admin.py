"""The admin plane: every row of the contract, in the order in which paths are matched."""

from __future__ import annotations

from collections.abc import Sequence

from hogsend.rest import table
from hogsend.rest.rows import (
    access,
    alerts,
    contact_changes,
    contacts,
    deadletters,
    emails,
    events,
    journeys,
    metrics,
    steering,
)
from hogsend.rest.table import Row, Table
from hogsend.runtime import Runtime

ROWS: Sequence[Row] = (
    *contact_changes.ROWS,
    *contacts.ROWS,
    *journeys.ROWS,
    *steering.ROWS,
    *emails.ROWS,
    *events.ROWS,
    *access.ROWS,
    *metrics.ROWS,
    *alerts.ROWS,
    *deadletters.ROWS,
)


class AdminPlane(Table):
    """The rows of this process. Made at start: a document that does not fit the schema stops it."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime, ROWS)

    async def close(self) -> None:
        """Nothing to close."""


routes = table.routes(ROWS, lambda runtime: runtime.part(AdminPlane))
