"""Batches: many events with an answer each, the same as if they had come one by one.

A wave is a transaction. Where one fails, its halves are tried, down to the single event whose own data is at fault:
that one alone is told so, and nothing of it is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeAlias
from uuid import UUID

import structlog

from hogsend.contacts.resolve_many import known_together
from hogsend.errors import InvalidInput
from hogsend.events.event import NewEvent, check_event
from hogsend.ingestion.pipeline import Incoming, IngestResult, take_one, take_wave
from hogsend.ingestion.waves import People, next_wave
from hogsend.runtime import Runtime
from hogsend.storage.unreachable import unreachable

log = structlog.get_logger(__name__)

MOST_EVENTS = 1_000
NOT_TAKEN_IN = "The event could not be taken in; try it again"
# So many, and others have their turn.
_CHECKED_AT_ONCE = 100

Answer: TypeAlias = IngestResult | Exception
"""What became of one event. Where it is an error, nothing of the event is stored."""


async def ingest_batch(runtime: Runtime, events: Sequence[NewEvent | InvalidInput]) -> list[Answer]:
    """Take events in, in their order; an answer each, in the same order. What an answer says is committed.

    One that is an error already keeps its place. An answer is `InvalidInput` for what the sender got wrong, and any
    other error where the same event may be sent again. Raises where Postgres is away and nothing was taken in.
    """
    answers: list[Answer | None] = []
    waiting: list[Incoming] = []
    places: dict[UUID, int] = {}
    for place, event in enumerate(events):
        if place % _CHECKED_AT_ONCE == 0:
            await asyncio.sleep(0)
        refused = event if isinstance(event, InvalidInput) else wrong_with(runtime, event)
        answers.append(refused)
        if refused is None and isinstance(event, NewEvent):
            waiting.append(one := Incoming(event))
            places[one.id] = place
    people = await _people(runtime, waiting)
    while waiting:
        wave, waiting = next_wave(runtime.registry, waiting, people)
        done = await settle_wave(runtime, wave)
        for one in wave:
            # What links, merges or has to wait, in its order, before whatever depends on it.
            answer = done[one.id] if one.id in done else await settle_alone(runtime, one)
            answers[places[one.id]] = answer
            if isinstance(answer, Exception) and unreachable(answer):
                _give_up(answers, answer)
                waiting = []
    return [answer for answer in answers if answer is not None]


def _give_up(answers: list[Answer | None], away: Exception) -> None:
    """Postgres is away: whoever has no answer yet hears it now. Raises it where nothing was taken in."""
    if not any(isinstance(answer, IngestResult) for answer in answers):
        raise away
    answers[:] = [away if answer is None else answer for answer in answers]


async def _people(runtime: Runtime, waiting: Sequence[Incoming]) -> People:
    """Whose events these are, where they are several: with a look at who is known under more than one of the keys."""
    if len(waiting) < 2:
        return People(waiting)
    async with runtime.database.read() as conn:
        return People(waiting, await known_together(conn, [one.keys for one in waiting]))


def wrong_with(runtime: Runtime, event: NewEvent) -> InvalidInput | None:
    """What the sender got wrong, or None."""
    try:
        check_event(event, runtime.settings.nobodys_ids)
    except InvalidInput as error:
        return error
    return None


async def settle_wave(runtime: Runtime, wave: Sequence[Incoming]) -> dict[UUID, Answer]:
    """Take a wave in, in a transaction or, where that fails, in two; those without an answer want `settle_alone`."""
    try:
        async with runtime.database.transaction() as conn:
            results = await take_wave(conn, runtime, wave)
    except Exception as error:
        if unreachable(error):
            return dict.fromkeys((one.id for one in wave), error)
        if len(wave) == 1:
            return {}
        log.warning("wave_failed", events=len(wave), error=type(error).__name__)
        middle = len(wave) // 2
        return {
            **await settle_wave(runtime, wave[:middle]),
            **await settle_wave(runtime, wave[middle:]),
        }
    if results:
        runtime.fault_point("after_ingest_commit")
    return dict(results)


async def settle_alone(runtime: Runtime, one: Incoming) -> Answer:
    """Take one event in, in a transaction of its own, whatever it links or merges and whomever it has to wait for."""
    try:
        async with runtime.database.transaction() as conn:
            result = await take_one(conn, runtime, one)
    except Exception as error:
        if not isinstance(error, InvalidInput):
            log.warning("event_failed", name=one.event.name, error=type(error).__name__)
        return error
    runtime.fault_point("after_ingest_commit")
    return result
