"""Facts that conditions ask about, read from the database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.tables.emails import email_sends
from hogsend.tables.events import user_events

ENGAGEMENT = {
    "sent": email_sends.c.sent_at,
    "delivered": email_sends.c.delivered_at,
    "opened": email_sends.c.opened_at,
    "clicked": email_sends.c.clicked_at,
    "bounced": email_sends.c.bounced_at,
}


class ContactFacts:
    """The facts of one contact, as of one transaction. `until_seq` hides events that came after it."""

    def __init__(
        self,
        conn: AsyncConnection,
        contact_id: UUID,
        *,
        now: datetime,
        event_properties: Mapping[str, Any],
        contact_properties: Mapping[str, Any],
    ) -> None:
        self._conn = conn
        self._contact_id = contact_id
        self.now = now
        self.event_properties = event_properties
        self.contact_properties = contact_properties

    async def count_events(self, name: str, since: datetime | None) -> int:
        query = select(func.count()).where(
            user_events.c.contact_id == self._contact_id, user_events.c.name == name
        )
        if since is not None:
            query = query.where(user_events.c.occurred_at >= since)
        return int((await self._conn.execute(query)).scalar_one())

    async def email_engagement(self, template: str, what: str, since: datetime | None) -> bool:
        column: ColumnElement[Any] = ENGAGEMENT[what]
        conditions = [
            email_sends.c.contact_id == self._contact_id,
            email_sends.c.template_key == template,
            column.is_not(None) if since is None else column >= since,
        ]
        return bool((await self._conn.execute(select(exists().where(*conditions)))).scalar_one())
