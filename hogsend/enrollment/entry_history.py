"""Entry history of a contact, read from the database: what the guards look at, beside conditions."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.enrollment.guards import EntryHistory
from hogsend.journeys.definition import Journey

# Everything of the contact is read once and parted by journey. A subquery for each journey looks cheaper to the
# planner the fewer journeys it is given, so it would plan anew at each event, which costs more than the answer.
_STANDINGS = text("""
SELECT j.id AS journey_id, s.enabled AS override, live.id AS live_id, live.status AS live_status,
       coalesce(past.entries, 0) AS entries, past.last_entered_at, mail.last_emailed_at
FROM unnest(CAST(:journeys AS text[])) AS j(id)
LEFT JOIN journey_settings s ON s.journey_id = j.id
LEFT JOIN journey_states live ON live.journey_id = j.id AND live.contact_id = :contact
      AND live.status IN ('pending', 'active', 'waiting', 'blocked')
LEFT JOIN (
    SELECT journey_id, count(*) AS entries, max(created_at) AS last_entered_at
    FROM journey_states WHERE contact_id = :contact GROUP BY journey_id
) past ON past.journey_id = j.id
LEFT JOIN (
    SELECT journey_id, max(sent_at) AS last_emailed_at
    FROM email_sends WHERE contact_id = :contact GROUP BY journey_id
) mail ON mail.journey_id = j.id
""")


async def entry_histories(
    conn: AsyncConnection, contact_id: UUID, journeys: Iterable[Journey]
) -> dict[str, EntryHistory]:
    """How the contact stands to each journey. One statement; call it under the subject's lock to rely on it."""
    ids = [journey.id for journey in journeys]
    if not ids:
        return {}
    rows = await conn.execute(_STANDINGS, {"journeys": ids, "contact": contact_id})
    return {
        row.journey_id: EntryHistory(
            row.override, row.live_id, row.live_status, row.entries, row.last_entered_at, row.last_emailed_at
        )
        for row in rows
    }
