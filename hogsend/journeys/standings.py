"""How a contact stands to journeys, read from the database: what the guards look at, beside conditions."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.journeys.definition import Journey
from hogsend.journeys.guards import Standing

_STANDINGS = text("""
SELECT j.id AS journey_id, s.enabled AS override, live.id AS live_id, live.status AS live_status,
       past.entries, past.last_entered_at, mail.last_emailed_at
FROM unnest(CAST(:journeys AS text[])) AS j(id)
LEFT JOIN journey_settings s ON s.journey_id = j.id
LEFT JOIN LATERAL (
    SELECT id, status FROM journey_states
    WHERE journey_id = j.id AND contact_id = :contact
      AND status IN ('pending', 'active', 'waiting', 'blocked')
) live ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS entries, max(created_at) AS last_entered_at FROM journey_states
    WHERE journey_id = j.id AND contact_id = :contact
) past ON true
LEFT JOIN LATERAL (
    SELECT max(sent_at) AS last_emailed_at FROM email_sends
    WHERE journey_id = j.id AND contact_id = :contact
) mail ON true
""")


async def standings(
    conn: AsyncConnection, contact_id: UUID, journeys: Iterable[Journey]
) -> dict[str, Standing]:
    """How the contact stands to each journey. One statement; call it under the subject's lock to rely on it."""
    ids = [journey.id for journey in journeys]
    if not ids:
        return {}
    rows = await conn.execute(_STANDINGS, {"journeys": ids, "contact": contact_id})
    return {
        row.journey_id: Standing(
            row.override, row.live_id, row.live_status, row.entries, row.last_entered_at, row.last_emailed_at
        )
        for row in rows
    }
