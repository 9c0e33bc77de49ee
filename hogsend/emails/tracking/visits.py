"""Readers' visits: opens and clicks. A repeat is counted on the row of the first, and so is a second report of one.

A reader who opens or clicks may be seen twice: by our own pixel or link, and by the provider's. Where we have seen a
visit ourselves, our count stands, and the provider's report of it adds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.tables.emails import email_events, email_links

OF_READERS = frozenset({"opened", "clicked"})

# One reader's visit: what the same agent at the same address repeats within it is counted, not recorded anew.
VISIT = timedelta(minutes=10)
# Opens of a send, or clicks of a link, that have a row of their own; whoever comes later is counted on the latest.
MOST_VISITS = 100

_OURS = re.compile(r"/v1/t/c/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:[?#]|$)")
_events = email_events.c


@dataclass(frozen=True)
class Visit:
    """What is known of a reader who opened or clicked: which link, and from where."""

    link_id: UUID | None = None
    url: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None


UNSEEN = Visit()


async def reported_visit(conn: AsyncConnection, email_id: UUID, fact: Mapping[str, Any]) -> Visit:
    """A visit as the provider tells it. The link that it names is ours where its tracking wrapped that of the email."""
    url: str | None = fact.get("url")
    link_id = None
    if url is not None:
        links = email_links.c
        query = select(links.id, links.url).where(links.email_id == email_id)
        wrapped = _OURS.search(url)
        query = query.where(links.id == UUID(wrapped[1]) if wrapped else links.url == url)
        found = (await conn.execute(query.order_by(links.position).limit(1))).one_or_none()
        if found is not None:
            link_id, url = found.id, found.url
    return Visit(link_id, url, fact.get("ip_address"), fact.get("user_agent"))


async def count_repeat(
    conn: AsyncConnection, email_id: UUID, type: str, at: datetime, visit: Visit, *, reported: bool
) -> bool:
    """Count what a reader did on the row of the visit that it belongs to. False where it begins a new one.

    `reported`: by the provider, whose word on a visit that has a row of ours adds nothing. A visit that the provider
    told of first becomes ours with the first sight of our own. The caller holds the send's row, so of two at once the
    second sees the first.
    """
    ours = _events.provider_event_id.is_(None)
    near = and_(_events.at < at + VISIT, func.greatest(_events.at, _events.last_at) > at - VISIT)
    same_reader = and_(
        _events.at > at - VISIT,
        _events.user_agent.is_not_distinct_from(visit.user_agent),
        _events.ip_address.is_not_distinct_from(visit.ip_address),
    )
    row = (
        await conn.execute(
            select(_events.id, ours.label("ours"), near.label("near"), same_reader.label("same"))
            .where(
                _events.email_id == email_id,
                _events.type == type,
                _events.link_id.is_not_distinct_from(visit.link_id),
                true() if visit.link_id is not None else _events.url.is_not_distinct_from(visit.url),
            )
            .add_columns(func.count().over().label("visits"))
            .order_by(*_preferred(ours, near, same_reader, reported=reported))
            .limit(1)
        )
    ).one_or_none()
    if row is None:
        return False
    if reported and row.near and row.ours:
        return True
    if not reported and row.near and not row.ours:
        await _make_ours(conn, row.id, visit)
        return True
    if (row.near if reported else row.ours and row.same) or row.visits >= MOST_VISITS:
        await _count(conn, row.id, at)
        return True
    return False


def _preferred(
    ours: ColumnElement[bool], near: ColumnElement[bool], same: ColumnElement[bool], *, reported: bool
) -> tuple[ColumnElement[Any], ...]:
    """The row that a visit most likely belongs to comes first; of those that it does not belong to, the latest."""
    likely = and_(near, ours) if reported else and_(ours, same)
    return likely.desc(), and_(near, ~ours).desc(), _events.at.desc()


async def _count(conn: AsyncConnection, row_id: UUID, at: datetime) -> None:
    await conn.execute(
        update(email_events)
        .where(_events.id == row_id)
        .values(count=_events["count"] + 1, last_at=func.greatest(_events.last_at, at))
    )


async def _make_ours(conn: AsyncConnection, row_id: UUID, visit: Visit) -> None:
    await conn.execute(
        update(email_events)
        .where(_events.id == row_id)
        .values(provider_event_id=None, ip_address=visit.ip_address, user_agent=visit.user_agent)
    )
