"""Replay of stored events: chosen by id or filter, sent through ingestion again, each in its own transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.access.audit import audit
from hogsend.access.idempotency import Claim
from hogsend.contacts.lookup import find
from hogsend.errors import InvalidInput
from hogsend.ingestion.replay import replay_in
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
class ReplayError:
    event_id: str
    error: str


@dataclass
class Replayed:
    """What was replayed under one key: `done` holds the events in their order, those with an error too."""

    done: list[str] = field(default_factory=list)
    errors: list[ReplayError] = field(default_factory=list)

    @classmethod
    def before(cls, progress: Mapping[str, Any]) -> Replayed:
        """What an earlier call with the key had done."""
        return cls(list(progress.get("done", [])), [ReplayError(*one) for one in progress.get("errors", [])])

    def progress(self) -> dict[str, Any]:
        return {"done": self.done, "errors": [[one.event_id, one.error] for one in self.errors]}

    @property
    def replayed(self) -> int:
        failed = {one.event_id for one in self.errors}
        return sum(event_id not in failed for event_id in self.done)


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


async def replay_all(runtime: Runtime, choice: EventChoice, claim: Claim) -> Replayed:
    """Replay each event in a transaction of its own; one that fails does not stop those behind it.

    With the same key again it goes on where it stopped, and answers for all of them. Raises `InvalidInput`.
    """
    chosen = await choose(runtime, choice)
    result = Replayed.before(claim.progress)
    earlier = set(result.done)
    left = [one for one in chosen.event_ids if str(one) not in earlier][: choice.limit - len(earlier)]
    for event_id in left:
        result.done.append(str(event_id))
        try:
            async with runtime.database.transaction() as conn:
                await replay_in(conn, runtime, event_id)
                await claim.keep(conn, result.progress())
        except InvalidInput as error:
            result.errors.append(ReplayError(str(event_id), error.message))
        runtime.fault_point("after_replay")
    result.errors[:0] = [ReplayError(text, "Event not found") for text in chosen.unknown]
    async with runtime.database.transaction() as conn:
        await audit(conn, detail={"matched": len(result.done), "replayed": result.replayed})
    return result


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text.removeprefix("event_"))
    except ValueError:
        return None
