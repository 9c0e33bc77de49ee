"""What is counted is what is there: whoever writes, whatever is folded, corrected, deleted or forgotten meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.clock import ManualClock
from hogsend.emails.tracking.delivery_events import record_fact
from hogsend.engine.retention import forget_old
from hogsend.metrics import queries
from hogsend.metrics.check import check_rollups, last_check
from hogsend.metrics.fold import any_fresh, fold
from hogsend.metrics.periods import DAY, HOUR, Period, Reach, Span, cover
from hogsend.metrics.rollups import ROLLUPS
from hogsend.runtime import Runtime
from hogsend.tables.contacts import contact_preferences, contacts
from hogsend.tables.emails import email_sends
from hogsend.tables.events import user_events
from hogsend.tables.journeys import STATUSES, journey_states
from tests.driving import drive
from tests.metrics.test_api import sign_up
from tests.metrics.test_queries import (
    HAPPENED,
    JOURNEYS,
    NAMES,
    NOW,
    _event,
    _person,
    _preference,
    _run,
    _send,
)

SPAN = Span(NOW - timedelta(days=9, minutes=7), NOW - timedelta(days=2, minutes=3))


async def answers(runtime: Runtime, now: datetime = NOW) -> list[Any]:
    """Every figure, some of them over spans that cut hours."""
    async with runtime.database.read() as conn:
        return [
            await queries.overview(conn, now),
            await queries.journeys(conn, NAMES),
            *[await queries.journey(conn, one) for one in JOURNEYS],
            *[await queries.emails(conn, span, untemplated=True) for span in (Span(), SPAN)],
            *[await queries.deliverability(conn, Period.WEEK, span) for span in (Span(), SPAN)],
            *[await queries.events(conn, period, SPAN) for period in (Period.HOUR, Period.DAY)],
        ]


async def mended(runtime: Runtime) -> int:
    """How many cells differ from the rows; it asks until every hour was compared."""
    found = 0
    for _ in range(12):
        await check_rollups(runtime)
        async with runtime.database.read() as conn:
            check = await last_check(conn)
        assert check is not None
        found += check.mended
    return found


class Writer:
    """Changes rows as nobody should, each time in one transaction over several tables in any order."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    async def write(self, runtime: Runtime) -> None:
        async with runtime.database.transaction() as conn:
            for act in self.random.sample((self._insert, self._correct, self._delete), 3):
                await act(conn)

    def _at(self) -> datetime:
        return NOW - timedelta(minutes=self.random.randint(0, 40 * 24 * 60))

    async def _insert(self, conn: AsyncConnection) -> None:
        person = _person(self.random.getrandbits(60), deleted=False)
        happened = {
            f"{name}_at": self._at() if self.random.random() < 0.4 else None for name in ("sent", *HAPPENED)
        }
        journey_id, status = self.random.choice(JOURNEYS), self.random.choice(STATUSES)
        template = self.random.choice(("hello", None))
        rows: list[tuple[Any, Sequence[dict[str, Any]]]] = [
            (user_events, [_event(self.random.choice("ab"), self._at()) for _ in range(5)]),
            (email_sends, [_send(template, journey_id, self._at(), happened) for _ in range(2)]),
        ]
        await conn.execute(insert(contacts), [person])
        rows.append((journey_states, [_run(person, journey_id, status, self._at(), timedelta(seconds=9.25))]))
        rows.append((contact_preferences, [_preference(person, unsubscribed=self.random.random() < 0.5)]))
        for table, values in self.random.sample(rows, len(rows)):
            await conn.execute(insert(table), values)

    async def _some(self, conn: AsyncConnection, table: Any) -> list[UUID]:
        """Rows that nobody else changes: what is tested is counting."""
        free = select(table.c.id).order_by(func.random()).limit(3).with_for_update(skip_locked=True)
        return list((await conn.execute(free)).scalars())

    async def _correct(self, conn: AsyncConnection) -> None:
        changes: list[tuple[Any, dict[str, Any]]] = [
            (email_sends, {f"{self.random.choice(HAPPENED)}_at": self._at()}),
            (email_sends, {"sent_at": self._at(), "template_key": "bye"}),
            (journey_states, {"status": "completed", "completed_at": NOW}),
            (journey_states, {"status": "failed"}),
            (contacts, {"deleted_at": NOW}),
            (contact_preferences, {"unsubscribed_all": True}),
        ]
        for table, values in changes:
            if table is contact_preferences:  # as lock_subjects has it: who changes either holds the person
                held = await self._some(conn, contacts)
                where = contact_preferences.c.contact_id.in_(held)
            else:
                where = table.c.id.in_(await self._some(conn, table))
            if table is journey_states:
                where = where & journey_states.c.status.in_(("completed", "exited", "failed"))
            await conn.execute(update(table).where(where).values(values))

    async def _delete(self, conn: AsyncConnection) -> None:
        for table in (user_events, email_sends, journey_states):
            await conn.execute(delete(table).where(table.c.id.in_(await self._some(conn, table))))


async def test_concurrent_writers_lose_nothing_and_never_wait_in_a_circle(
    runtime: Runtime, clock: ManualClock
) -> None:
    clock.set(NOW)

    async def write(seed: int) -> None:
        writer = Writer(seed)
        for _ in range(8):
            await writer.write(runtime)

    async def keep_folding() -> None:
        while True:
            await fold(runtime)
            await check_rollups(runtime)

    folding = asyncio.create_task(keep_folding())
    await asyncio.gather(*(write(seed) for seed in range(6)))
    folding.cancel()
    await asyncio.gather(folding, return_exceptions=True)
    async with runtime.database.read() as conn:
        check = await last_check(conn)
    assert check is not None and check.mended_ever == 0
    before = await answers(runtime)
    assert await mended(runtime) == 0
    await fold(runtime)
    assert not await any_fresh(runtime)
    assert await answers(runtime) == before
    await recount(runtime)
    assert await answers(runtime) == before


async def recount(runtime: Runtime) -> None:
    """Forget what was counted; the check counts it anew."""
    async with runtime.database.transaction() as conn:
        for rollup in ROLLUPS:
            await conn.execute(delete(rollup.table))
    assert await mended(runtime) > 0
    await fold(runtime)


async def test_the_check_mends_every_grain_and_says_so(
    runtime: Runtime, client: httpx.AsyncClient, clock: ManualClock
) -> None:
    for user in ("ada", "bob"):
        await sign_up(client, user)
    await drive(runtime)
    await fold(runtime)
    right = await answers(runtime, clock.now())
    assert await checked(client) is None
    await check_rollups(runtime)
    assert await checked(client) == {"hours": 49, "mended": 0, "mendedEver": 0, "mendedAt": None}
    for grain, column in (("hour", "count"), ("day", "count"), ("all", "runs")):
        table = "event_stats" if column == "count" else "journey_stats"
        async with runtime.database.transaction() as conn:
            tampered = await conn.execute(
                text(f"UPDATE {table} SET {column} = {column} + 7 WHERE grain = '{grain}'")
            )
        assert tampered.rowcount >= 1
        await check_rollups(runtime)
        found = await checked(client)
        assert found is not None and found["mended"] >= 1 and found["mendedAt"] is not None
        await fold(runtime)
        assert await answers(runtime, clock.now()) == right
        await check_rollups(runtime)
        assert (await checked(client) or {})["mended"] == 0


async def checked(client: httpx.AsyncClient) -> dict[str, Any] | None:
    document = "{ metrics { check { hours mended mendedEver mendedAt } } }"
    body = (await client.post("/graphql", json={"query": document})).json()
    found: dict[str, Any] | None = body["data"]["metrics"]["check"]
    return found


async def test_what_happens_to_people_is_counted_on_every_path(
    runtime: Runtime, client: httpx.AsyncClient, clock: ManualClock
) -> None:
    """A merge, a refusal, a deletion, a resend, an event of last month, a bounce that is heard days later."""
    for user in ("ada", "bob", "cid"):
        await sign_up(client, user)
    await drive(runtime)
    backdated = {"name": "x", "userId": "ada", "timestamp": "2025-12-11T07:59:59Z"}
    assert (await client.post("/v1/events", json=backdated)).status_code == 202
    lead = {"name": "x", "email": "lead@example.com"}
    for report in (lead, lead | {"userId": "ada"}):
        assert (await client.post("/v1/events", json=report)).status_code == 202
    await fold(runtime)
    refused = await client.put("/v1/admin/contacts/bob/preferences", json={"unsubscribedAll": True})
    assert refused.status_code == 200, refused.text
    [email] = (await client.get("/v1/admin/emails", params={"userId": "cid"})).json()["emails"]
    clock.advance(timedelta(days=3))
    async with runtime.database.transaction() as conn:
        await record_fact(conn, email_id=UUID(email["id"]), type="bounced", at=clock.now())
    assert (await client.post(f"/v1/admin/emails/{email['id']}/resend")).status_code < 300
    assert (await client.delete("/v1/admin/contacts/cid")).status_code == 200
    await drive(runtime)
    overview = (await client.get("/v1/admin/metrics/overview")).json()
    assert (overview["totalContacts"], overview["unsubscribeRate"]) == (2, 0.5)
    before = await answers(runtime, clock.now())
    assert await mended(runtime) == 0
    await fold(runtime)
    assert await answers(runtime, clock.now()) == before
    await recount(runtime)
    assert await answers(runtime, clock.now()) == before


async def test_what_retention_forgets_stays_counted_and_what_is_deleted_does_not(
    runtime: Runtime, clock: ManualClock
) -> None:
    clock.set(NOW)
    settings = runtime.settings
    days = {"retention_events": 20, "retention_emails": 20, "retention_runs": 20}
    kept = {name: getattr(settings, name) for name in days}
    for index in range(6):
        await Writer(index).write(runtime)
    async with runtime.database.transaction() as conn:
        await conn.execute(update(journey_states).values(ended_at=journey_states.c.created_at))
    whole = Span(NOW - timedelta(days=30, hours=9, minutes=30), None)  # whole hours only
    before = await figures(runtime, whole)
    try:
        for name, value in days.items():
            setattr(settings, name, value)
        await forget_old(runtime)
    finally:
        for name, value in kept.items():
            setattr(settings, name, value)
    async with runtime.database.read() as conn:
        oldest = (await conn.execute(select(func.min(user_events.c.occurred_at)))).scalar_one()
    assert oldest >= NOW - timedelta(days=20)
    assert await figures(runtime, whole) == before
    assert await mended(runtime) == 0
    await fold(runtime)
    assert await figures(runtime, whole) == before
    assert await mended(runtime) == 0
    async with runtime.database.transaction() as conn:
        deleted = (await conn.execute(delete(user_events).where(user_events.c.name == "a"))).rowcount
    assert (
        sum(one.count for one in before[0]) - sum(one.count for one in (await figures(runtime, whole))[0])
        == deleted
    )


async def figures(runtime: Runtime, span: Span) -> tuple[Any, ...]:
    async with runtime.database.read() as conn:
        return (
            await queries.events(conn, Period.DAY, span),
            await queries.emails(conn, span, untemplated=True),
            await queries.journeys(conn, NAMES),
            await queries.deliverability(conn, Period.MONTH, Span()),
        )


def test_a_span_is_covered_once_by_few_pieces() -> None:
    at = datetime(2026, 3, 18, 9, 30, tzinfo=UTC)
    generator = random.Random(5)
    for _ in range(300):
        ends = [
            at + timedelta(minutes=generator.choice((0, 1, 30, 60, 90, 870, 871, 1440, 5000))) for _ in "ab"
        ]
        for by_day in (True, False):
            pieces = cover(Reach(*ends), by_day=by_day)
            days = [] if pieces.days is None else [pieces.days]
            parts = sorted((*pieces.edges, *pieces.hours, *days), key=lambda one: one.start or at)
            assert len(parts) <= 5
            assert sum(((one.end or at) - (one.start or at) for one in parts), timedelta()) == max(
                ends[1] - ends[0], timedelta()
            )
            assert all(one.end == after.start for one, after in pairwise(parts))
            assert all(
                ((one.start or at).timestamp() % length.total_seconds()) == 0
                for wholes, length in ((days, DAY), (pieces.hours, HOUR))
                for one in wholes
            )
    last, first = datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)
    for reach in (Reach(), Reach(at), Reach(None, at), Reach(last), Reach(None, first)):
        pieces = cover(reach, by_day=True)
        assert len(pieces.edges) <= 1 and (pieces.whole is not None or pieces.edges)
    assert Span(None, last).reach() == Reach()
