"""Ingestion of one event: when it is answered, the event is committed with everything that follows from it."""

from __future__ import annotations

from hogsend.events.event import NewEvent, check_event
from hogsend.ingestion.group_commit import GroupCommit
from hogsend.ingestion.pipeline import IngestResult
from hogsend.runtime import Runtime


async def ingest(runtime: Runtime, event: NewEvent) -> IngestResult:
    """Take one event in, together with others that come at the same time.

    Raises `InvalidInput` for what the sender got wrong. When this returns, the event is committed, and whatever
    it set in motion will happen, engine up or down.
    """
    check_event(event, runtime.settings.nobodys_ids)
    return await runtime.part(GroupCommit).take(event)
