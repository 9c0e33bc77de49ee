"""A batch does what its events would have done one by one: the same answers, and the same rows.

Two sets of people, alike but for a mark at the end of each key, live through the same story: to one the events come
each in a transaction of its own, to the other in batches. Random is who, what, under which keys, where a batch ends.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from hogsend import Context, User, days, event, journey, on, prop
from hogsend.clock import ManualClock
from hogsend.errors import InvalidInput
from hogsend.events.event import NewEvent
from hogsend.ingestion.batch import Answer, ingest_batch, settle_alone, wrong_with
from hogsend.ingestion.pipeline import Incoming, IngestResult
from hogsend.runtime import Runtime
from tests.driving import drive, rows
from tests.fixtures.journeys import RunningWith

ONE_BY_ONE, BATCHED = "-one", "-many"
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@journey(id="greets-once", trigger="start", entry="once", exit_on="stop")
async def greets_once(_user: User, ctx: Context) -> None:
    await ctx.wait_for_event("go", timeout=days(3))
    await ctx.sleep(days(1))


@journey(
    id="every-time", trigger=on("start", prop("n") > 3), entry="unlimited", exit_on=on("stop", prop("n") > 5)
)
async def every_time(_user: User, ctx: Context) -> None:
    first = await ctx.wait_for_event("go", timeout=days(3), where=prop("n") > 2)
    await ctx.checkpoint("went" if first else "stayed")
    await ctx.wait_for_event("noise", timeout=days(3))


@journey(id="after-noise", trigger=on("go", event("noise").at_least(2)), entry="unlimited")
async def after_noise(_user: User, ctx: Context) -> None:
    await ctx.sleep(days(2))


JOURNEYS = (greets_once, every_time, after_noise)

_properties = st.dictionaries(
    st.sampled_from(("plan", "seats")), st.one_of(st.none(), st.integers(0, 2)), max_size=2
)


@st.composite
def _events(draw: st.DrawFn) -> NewEvent:
    who = draw(
        st.sampled_from(("id", "id", "id", "email", "email", "both", "device", "device and id", "nobody"))
    )
    number = draw(st.integers(0, 3))
    key = draw(st.one_of(st.none(), st.none(), st.integers(0, 3)))
    return NewEvent(
        name=draw(st.sampled_from(("start", "start", "go", "stop", "noise", "noise"))),
        external_id="undefined"
        if who == "nobody"
        else f"u{number}"
        if "id" in who or who == "both"
        else None,
        email=f"p{draw(st.integers(0, 3))}" if who in ("email", "both") else None,
        anonymous_id=f"d{draw(st.integers(0, 1))}" if "device" in who else None,
        properties={"n": draw(st.integers(0, 8))},
        contact_properties=draw(_properties) if draw(st.booleans()) else {},
        occurred_at=ManualClock().now() - timedelta(hours=draw(st.integers(0, 50)))
        if draw(st.booleans())
        else None,
        idempotency_key=None if key is None else f"k{key}",
    )


def _marked(one: NewEvent, mark: str, number: int) -> NewEvent:
    """The event of one of the two sets; `i` names it in both."""
    return replace(
        one,
        external_id=one.external_id
        and (one.external_id if one.external_id == "undefined" else one.external_id + mark),
        email=one.email and f"{one.email}{mark}@example.com",
        anonymous_id=one.anonymous_id and one.anonymous_id + mark,
        idempotency_key=one.idempotency_key and one.idempotency_key + mark,
        properties={**one.properties, "i": f"{number}{mark}"},
    )


async def _singly(runtime: Runtime, events: Sequence[NewEvent]) -> list[Answer]:
    return [wrong_with(runtime, one) or await settle_alone(runtime, Incoming(one)) for one in events]


def _told(answer: Answer) -> Any:
    """An answer without ids."""
    if isinstance(answer, IngestResult):
        exits = sorted((one.journey_id, one.exited) for one in answer.exits)
        return (
            answer.stored,
            exits,
            [(one.journey_id, one.enrolled, one.reason) for one in answer.enrollments],
        )
    assert isinstance(answer, InvalidInput), answer
    return answer.field, answer.message


async def _snapshot(runtime: Runtime, mark: str, since: int) -> dict[str, list[str]]:
    """All rows of one set of people, each as text in which ids and marks are replaced by what they mean.

    The order of each person's events is that of those from number `since` on: earlier ones of two who have become one
    person since then were not one person's.
    """
    known = await _meanings(runtime, mark)
    taken: dict[str, list[str]] = {}
    for table, query in _QUERIES.items():
        given = {"mark": f"%{mark}%"} | ({"since": since} if ":since" in query else {})
        found = [repr(tuple(row)) for row in await rows(runtime, query, **given)]
        taken[table] = [_ID.sub(lambda id_: known.get(id_[0], "?"), one).replace(mark, "") for one in found]
    return {table: found if table == "events" else sorted(found) for table, found in taken.items()}


async def _meanings(runtime: Runtime, mark: str) -> dict[str, str]:
    """What each id stands for: a person by their keys, an event by its number, a run by what began it."""
    people = await rows(runtime, _PEOPLE, mark=f"%{mark}%")
    known = {str(row.id): f"person({row.external_id} {row.email} {row.anonymous_id})" for row in people}
    for row in await rows(runtime, "SELECT id, properties->>'i' AS i FROM user_events"):
        known[str(row.id)] = f"event({row.i})"
    for row in await rows(runtime, "SELECT id, journey_id, trigger_event_id FROM journey_states"):
        known[str(row.id)] = f"run({row.journey_id} {known.get(str(row.trigger_event_id))})"
    return known


_PEOPLE = "SELECT * FROM contacts WHERE external_id LIKE :mark OR email LIKE :mark OR anonymous_id LIKE :mark"
_OF = f"contact_id IN (SELECT id FROM ({_PEOPLE}) people)"
_EVENT_AT = "(SELECT properties->>'i' FROM user_events e WHERE e.seq = {})"
_QUERIES = {
    "contacts": f"SELECT id, properties, first_seen_at, last_seen_at, created_at, updated_at, deleted_at, merged_into"
    f" FROM ({_PEOPLE}) people",
    "aliases": f"SELECT kind, value, contact_id, created_at FROM contact_aliases WHERE {_OF}",
    "events": "SELECT contact_id, name, properties, source, idempotency_key, occurred_at, received_at, depth, chain"
    f" FROM user_events WHERE {_OF} ORDER BY properties->>'i', seq",
    "order": "SELECT contact_id, string_agg(properties->>'i', ' ' ORDER BY seq) FROM user_events"
    f" WHERE {_OF} AND split_part(properties->>'i', '-', 1)::int >= :since GROUP BY contact_id",
    "keys": "SELECT key, event_id, created_at FROM event_keys WHERE key LIKE :mark",
    "decisions": "SELECT at, kind, reason, detail, contact_id, journey_id, state_id, event_id"
    f" FROM decisions WHERE {_OF}",
    "runs": "SELECT id, contact_id, email, status, epoch, wake_at, current_node, input, context, entry_key,"
    f" entry_count, ended_reason, completed_at, exited_at, {_EVENT_AT.format('cursor_seq')}"
    f" FROM journey_states s WHERE {_OF}",
    "steps": "SELECT state_id, key, st.seq, st.status, result - 'seq', deadline, opened_at, closed_at"
    f" FROM journey_steps st JOIN journey_states s ON s.id = st.state_id WHERE {_OF}",
    "waits": f"SELECT state_id, step_key, contact_id, event, conditions, deadline, {_EVENT_AT.format('since_seq')}"
    f" FROM journey_waits WHERE {_OF}",
    "outbox": "SELECT topic, payload - 'engine_run_id' FROM outbox WHERE payload->>'run_id' IN"
    f" (SELECT id::text FROM journey_states WHERE {_OF})",
    "activity": "SELECT at, kind, type, contact_id, journey_id, CASE WHEN kind <> 'decision' THEN ref_id END"
    f" FROM activity WHERE {_OF}",
}


@effort(
    max_examples=int(os.environ.get("HOGSEND_EXAMPLES", "15")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(story=st.lists(st.lists(_events(), min_size=1, max_size=14), min_size=1, max_size=3))
async def test_batches_do_what_events_do_one_by_one(
    running: RunningWith, clean_again: Callable[[], Awaitable[None]], story: list[list[NewEvent]]
) -> None:
    await clean_again()
    async with running(*JOURNEYS) as runtime:
        first = number = 0
        for chapter in story:
            numbered = list(enumerate(chapter, number))
            first, number = number, number + len(chapter)
            single = await _singly(runtime, [_marked(one, ONE_BY_ONE, i) for i, one in numbered])
            batched = await ingest_batch(runtime, [_marked(one, BATCHED, i) for i, one in numbered])
            assert [_told(one) for one in batched] == [_told(one) for one in single]
            assert await _snapshot(runtime, BATCHED, first) == await _snapshot(runtime, ONE_BY_ONE, first)
            await drive(runtime)
        assert await _snapshot(runtime, BATCHED, first) == await _snapshot(runtime, ONE_BY_ONE, first)
