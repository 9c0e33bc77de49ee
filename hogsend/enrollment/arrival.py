"""An event that has arrived: stored, with the contact that it belongs to, whose lock is held."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.enrollment.condition_facts import ContactFacts
from hogsend.events.event import Event
from hogsend.runtime import Runtime
from hogsend.storage.database import Record


@dataclass(frozen=True)
class Arrival:
    """`trace` is the context of the request that brought the event. A `replayed` one was stored before."""

    event: Event
    contact: Record
    trace: str | None = None
    replayed: bool = False

    def facts(self, conn: AsyncConnection, runtime: Runtime) -> ContactFacts:
        """What conditions may ask of it."""
        return ContactFacts(
            conn,
            self.contact["id"],
            now=runtime.clock.now(),
            event_properties=self.event.properties,
            contact_properties=self.contact["properties"],
        )
