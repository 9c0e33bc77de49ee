"""Replay of stored events: chosen by id or filter, sent through ingestion again, each in its own transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.contacts.lookup import find
from hogsend.errors import InvalidInput
from hogsend.ingestion.ingest import replay
from hogsend.runtime import Runtime
from hogsend.tables.events import user_events

MOST_AT_ONCE = 1_000
_events = user_events.c


@dataclass(frozen=True)
class EventChoice:
    """Which stored events. One of `ids` and the other fields; `start` and `end` bound `occurred_at`."""

    ids: Sequence[str] | None = None
    name: str | None = None
    user_id: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    limit: int = MOST_AT_ONCE

    @property
    def filtered(self) -> bool:
        return any((self.name, self.user_id, self.start, self.end))


@dataclass(frozen=True)
class Chosen:
    """`unknown` holds ids that no event has, as they were given."""

    event_ids: list[UUID]
    unknown: list[str]


@dataclass(frozen=True)
class Replayed:
    """How many events went through again, and by id why each of the others did not."""

    replayed: int
    errors: Mapping[str, str]


async def choose(runtime: Runtime, choice: EventChoice) -> Chosen:
    """The events that fit, in the order in which they happened. Raises `InvalidInput`."""
    if (choice.ids is not None) == choice.filtered:
        raise InvalidInput("eventIds", "Give either eventIds or a filter")
    if not 1 <= choice.limit <= MOST_AT_ONCE:
        raise InvalidInput("limit", f"limit must be between 1 and {MOST_AT_ONCE}")
    if choice.ids is not None and len(choice.ids) > MOST_AT_ONCE:
        raise InvalidInput("eventIds", f"eventIds must hold at most {MOST_AT_ONCE} ids")
    async with runtime.database.read() as conn:
        if choice.ids is not None:
            return await _by_ids(conn, choice.ids, choice.limit)
        return Chosen(await _by_filter(conn, choice), [])


async def _by_ids(conn: AsyncConnection, given: Sequence[str], limit: int) -> Chosen:
    wanted = {text: _uuid(text) for text in dict.fromkeys(given)}
    parsed = [event_id for event_id in wanted.values() if event_id is not None]
    found = await conn.execute(
        select(_events.id)
        .where(_events.id.in_(parsed), _events.contact_id.is_not(None))
        .order_by(_events.occurred_at, _events.seq)
    )
    known = list(found.scalars())
    unknown = [text for text, event_id in wanted.items() if event_id not in set(known)]
    return Chosen(known[:limit], unknown)


async def _by_filter(conn: AsyncConnection, choice: EventChoice) -> list[UUID]:
    query = select(_events.id).where(_events.contact_id.is_not(None))
    if choice.name is not None:
        query = query.where(_events.name == choice.name)
    if choice.user_id is not None:
        contact = await find(conn, choice.user_id)
        if contact is None:
            return []
        query = query.where(_events.contact_id == contact["id"])
    if choice.start is not None:
        query = query.where(_events.occurred_at >= choice.start)
    if choice.end is not None:
        query = query.where(_events.occurred_at <= choice.end)
    query = query.order_by(_events.occurred_at, _events.seq).limit(choice.limit)
    return list((await conn.execute(query)).scalars())


async def replay_all(runtime: Runtime, chosen: Chosen) -> Replayed:
    """Replay each event in a transaction of its own; one that fails does not stop those behind it."""
    errors = not_found(chosen)
    replayed = 0
    for event_id in chosen.event_ids:
        try:
            await replay(runtime, event_id)
        except InvalidInput as error:
            errors[str(event_id)] = error.message
        else:
            replayed += 1
    return Replayed(replayed, errors)


def not_found(chosen: Chosen) -> dict[str, str]:
    """The errors that are known before anything is replayed."""
    return dict.fromkeys(chosen.unknown, "Event not found")


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text.removeprefix("event_"))
    except ValueError:
        return None
