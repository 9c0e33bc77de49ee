"""Live progress of imports."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import strawberry

from hogsend.access.caller import Scope
from hogsend.errors import NotFound
from hogsend.graphql import ids
from hogsend.graphql.context import Info
from hogsend.graphql.fields import described, subscription
from hogsend.graphql.live import entries
from hogsend.graphql.node import by_key
from hogsend.realtime.live import Live
from hogsend.realtime.streams import ActivityFilter
from hogsend.schema.contacts.imports import ENDED, ImportJob
from hogsend.tables.realtime import ActivityKind


@strawberry.type
class ImportSubscription:
    @subscription(
        scope=Scope.READ,
        tells="state",
        description="Live progress of one import: first as it is now, then after each step; completes when the import "
        "has ended. It needs no cursor: who subscribes again is told how far it is.",
    )
    async def import_progress(
        self, info: Info, job_id: Annotated[strawberry.ID, described("The import: global id, or bare UUID.")]
    ) -> AsyncIterator[ImportJob]:
        key = ids.key_of(job_id, ImportJob.prefix, "Import job")
        start = await info.context.runtime.part(Live).hub.begin(None)
        job = await by_key(info.context, ImportJob, key)
        if job is None:
            raise NotFound("Import job")
        yield job
        if job.status in ENDED:
            return
        wanted = ActivityFilter(kinds=(ActivityKind.IMPORT,))
        async for entry in entries(info.context, wanted, start.encode()):
            info.context.entry = None
            if entry.ref_id != key:
                continue
            # A later step may be in the row already: then this message is that step's, and its own is left out.
            shown, job = job, await by_key(info.context, ImportJob, key)
            if job is None:
                return
            if job != shown:
                yield job
            if job.status in ENDED:
                return
