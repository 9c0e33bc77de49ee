"""Live alerts: firings and resolutions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import strawberry

from hogsend.access.caller import Scope
from hogsend.graphql.context import Info
from hogsend.graphql.fields import attribute, described, subscription, wire_type
from hogsend.graphql.live import After, entries
from hogsend.graphql.node import by_key
from hogsend.realtime.streams import ActivityFilter
from hogsend.schema.alerts.types import Alert, AlertChange, rule_key
from hogsend.tables.realtime import ActivityKind


@wire_type("A firing or a resolution of an alert, live.")
class AlertActivity:
    cursor: str = attribute("Position in the stream: `after` resumes exactly behind it.")
    change: AlertChange = attribute("What happened.")
    alert: Alert = attribute("The alert, with its rule.")


@strawberry.type
class AlertSubscription:
    @subscription(
        scope=Scope.READ,
        description="Live alerts of one rule, or of all: what fired and what was resolved behind `after`, then each"
        " new one.",
    )
    async def alert_fired(
        self,
        info: Info,
        rule_id: Annotated[strawberry.ID | None, described("Only alerts of this rule.")] = None,
        after: After = None,
    ) -> AsyncIterator[AlertActivity]:
        wanted = None if rule_id is None else rule_key(rule_id)
        async for entry in entries(info.context, ActivityFilter(kinds=(ActivityKind.ALERT,)), after):
            alert = await by_key(info.context, Alert, entry.ref_id)
            if alert is not None and wanted in (None, alert.rule_key):
                change = AlertChange(entry.type)
                yield AlertActivity(cursor=entry.cursor.encode(), change=change, alert=alert)
