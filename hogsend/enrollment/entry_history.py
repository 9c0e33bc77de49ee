"""Entry history of contacts, read from the database: what the guards look at, beside conditions."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.enrollment.guards import EntryHistory

# Everything of the people is read once and parted by journey. A subquery for each journey looks cheaper to the
# planner the fewer journeys it is given, so it would plan anew at each event, which costs more than the answer.
_STANDINGS = text("""
SELECT j.contact_id, j.journey_id, s.enabled AS override, live.id AS live_id, live.status AS live_status,
       coalesce(past.entries, 0) AS entries, past.last_entered_at, mail.last_emailed_at
FROM unnest(CAST(:contacts AS uuid[]), CAST(:journeys AS text[])) AS j(contact_id, journey_id)
LEFT JOIN journey_settings s ON s.journey_id = j.journey_id
LEFT JOIN journey_states live ON live.journey_id = j.journey_id AND live.contact_id = j.contact_id
      AND live.status IN ('pending', 'active', 'waiting', 'blocked')
LEFT JOIN (
    SELECT contact_id, journey_id, count(*) AS entries, max(created_at) AS last_entered_at
    FROM journey_states WHERE contact_id = ANY(CAST(:people AS uuid[])) GROUP BY contact_id, journey_id
) past ON past.contact_id = j.contact_id AND past.journey_id = j.journey_id
LEFT JOIN (
    SELECT contact_id, journey_id, max(sent_at) AS last_emailed_at
    FROM email_sends WHERE contact_id = ANY(CAST(:people AS uuid[])) GROUP BY contact_id, journey_id
) mail ON mail.contact_id = j.contact_id AND mail.journey_id = j.journey_id
""")

HistoryKey: TypeAlias = tuple[UUID, str]
"""A contact's id and a journey's."""


async def entry_histories(
    conn: AsyncConnection, pairs: Collection[HistoryKey]
) -> dict[HistoryKey, EntryHistory]:
    """How contacts stand to journeys. One statement; call it under the subjects' locks to rely on it."""
    if not pairs:
        return {}
    people = list(dict.fromkeys(contact_id for contact_id, _ in pairs))
    given = {
        "contacts": [contact_id for contact_id, _ in pairs],
        "journeys": [journey_id for _, journey_id in pairs],
        "people": people,
    }
    return {
        (row.contact_id, row.journey_id): EntryHistory(
            row.override, row.live_id, row.live_status, row.entries, row.last_entered_at, row.last_emailed_at
        )
        for row in await conn.execute(_STANDINGS, given)
    }
