"""The audit log, live."""

from __future__ import annotations

from collections.abc import AsyncIterator

import strawberry

from hogsend.access.caller import Scope
from hogsend.graphql.context import Info
from hogsend.graphql.fields import subscription, wire_type
from hogsend.graphql.live import After, entries
from hogsend.graphql.messages import Message
from hogsend.graphql.rows import to_one
from hogsend.realtime.streams import ActivityFilter
from hogsend.tables.realtime import ActivityKind


@wire_type("An audit log entry that was written, live.")
class AuditActivity(Message):
    entry = to_one("audit", "ref_id", "The entry.")


@strawberry.type
class AuditSubscription:
    @subscription(
        scope=Scope.FULL_ADMIN,
        description="Live audit log: the entries behind `after`, then each new one; those of refused, failed and "
        "interrupted mutations too.",
    )
    async def audit_logged(self, info: Info, after: After = None) -> AsyncIterator[AuditActivity]:
        async for entry in entries(info.context, ActivityFilter(kinds=(ActivityKind.AUDIT,)), after):
            yield AuditActivity.of(entry)
