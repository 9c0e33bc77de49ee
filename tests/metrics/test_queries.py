"""The numbers are those of a slow model that walks over every row."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from sqlalchemy import delete, insert

from hogsend.clock import ManualClock
from hogsend.errors import InvalidInput
from hogsend.metrics import queries
from hogsend.metrics.fold import fold
from hogsend.metrics.periods import Period, Span
from hogsend.metrics.queries import Engagement
from hogsend.runtime import Runtime
from hogsend.storage.metadata import new_id
from hogsend.tables.contacts import contact_preferences, contacts
from hogsend.tables.emails import email_sends
from hogsend.tables.events import user_events
from hogsend.tables.journeys import STATUSES, journey_states

NOW = datetime(2026, 3, 18, 9, 30, tzinfo=UTC)
HAPPENED = ("delivered", "opened", "clicked", "bounced", "complained")
JOURNEYS = ("welcome", "trial", "gone")
NAMES = {"welcome": "Welcome", "trial": "Trial", "unused": "Unused"}

# Days around now, with the edges of days, weeks and months among them.
instants = st.one_of(
    st.integers(0, 60 * 24 * 60).map(lambda minutes: NOW - timedelta(minutes=minutes)),
    st.sampled_from([NOW - timedelta(days=days) for days in (1, 7, 30)]),
    st.sampled_from([datetime(2026, 3, day, tzinfo=UTC) for day in (1, 2, 9, 16)]),
    st.sampled_from([datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=UTC)]),
)
spans = st.builds(Span, st.none() | instants, st.none() | instants)


@dataclass
class World:
    """Rows as they go into the tables."""

    people: list[dict[str, Any]] = field(default_factory=list)
    preferences: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    sends: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    world = World()
    for index in range(draw(st.integers(1, 8))):
        person = _person(index, deleted=draw(st.booleans()))
        world.people.append(person)
        if draw(st.booleans()):
            world.preferences.append(_preference(person, unsubscribed=draw(st.booleans())))
        for journey_id in draw(st.sets(st.sampled_from(JOURNEYS))):
            status, entered = draw(st.sampled_from(STATUSES)), draw(instants)
            lasted = timedelta(seconds=draw(st.integers(0, 100_000)))
            world.runs.append(_run(person, journey_id, status, entered, lasted))
    for _ in range(draw(st.integers(0, 25))):
        what = draw(st.sets(st.sampled_from(("sent", *HAPPENED))))
        known = {f"{name}_at": draw(instants) if name in what else None for name in ("sent", *HAPPENED)}
        template = draw(st.sampled_from(("hello", "bye", None)))
        world.sends.append(_send(template, draw(st.sampled_from(JOURNEYS)), draw(instants), known))
    for _ in range(draw(st.integers(0, 25))):
        world.events.append(_event(draw(st.sampled_from("abc")), draw(instants)))
    return world


def _person(index: int, *, deleted: bool) -> dict[str, Any]:
    seen = dict.fromkeys(("first_seen_at", "last_seen_at", "created_at", "updated_at"), NOW)
    return {"id": new_id(), "email": f"p{index}@example.com", "deleted_at": NOW if deleted else None, **seen}


def _preference(person: dict[str, Any], *, unsubscribed: bool) -> dict[str, Any]:
    return {
        "id": new_id(),
        "contact_id": person["id"],
        "email": person["email"],
        "unsubscribed_all": unsubscribed,
        "created_at": NOW,
        "updated_at": NOW,
    }


def _run(
    person: dict[str, Any], journey_id: str, status: str, entered: datetime, lasted: timedelta
) -> dict[str, Any]:
    return {
        "id": new_id(),
        "journey_id": journey_id,
        "contact_id": person["id"],
        "email": person["email"],
        "status": status,
        "version": "1",
        "completed_at": entered + lasted if status == "completed" else None,
        "created_at": entered,
        "updated_at": entered,
    }


def _send(
    template: str | None, journey_id: str, created: datetime, known: dict[str, datetime | None]
) -> dict[str, Any]:
    email_id = new_id()
    return {
        "id": email_id,
        "send_key": str(email_id),
        "journey_id": journey_id,
        "template_key": template,
        "from_email": "a@example.com",
        "to_email": "b@example.com",
        "subject": "Hi",
        "status": "sent",
        "created_at": created,
        "updated_at": created,
        **known,
    }


def _event(name: str, at: datetime) -> dict[str, Any]:
    return {"id": new_id(), "name": name, "occurred_at": at, "received_at": at}


async def store(runtime: Runtime, world: World) -> None:
    tables = (
        (contacts, world.people),
        (contact_preferences, world.preferences),
        (journey_states, world.runs),
        (email_sends, world.sends),
        (user_events, world.events),
    )
    async with runtime.database.transaction() as conn:
        for table, _ in reversed(tables):
            await conn.execute(delete(table))
        for table, rows in tables:
            if rows:
                await conn.execute(insert(table), rows)


# The model.


def sent_when(send: dict[str, Any]) -> datetime | None:
    later = [send[f"{name}_at"] for name in HAPPENED if send[f"{name}_at"] is not None]
    return send["sent_at"] or min(later, default=None)


def ratio(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def within(at: datetime, span: Span) -> bool:
    return (span.start is None or span.start <= at) and (span.end is None or at <= span.end)


def start_of(at: datetime, period: Period) -> datetime:
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)
    match period:
        case Period.HOUR:
            return day.replace(hour=at.hour)
        case Period.WEEK:
            return day - timedelta(days=day.weekday())
        case Period.MONTH:
            return day.replace(day=1)
    return day


def engagement(sends: list[dict[str, Any]]) -> Engagement:
    happened = {name: sum(send[f"{name}_at"] is not None for send in sends) for name in HAPPENED}
    return Engagement(sent=sum(sent_when(send) is not None for send in sends), **happened)


def grouped(rows: list[dict[str, Any]], key: Any) -> dict[Any, list[dict[str, Any]]]:
    groups = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


@effort(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    world=worlds(),
    span=spans,
    period=st.sampled_from((Period.DAY, Period.WEEK, Period.MONTH)),
    folded=st.booleans(),
)
async def test_every_number_is_the_model_s(
    runtime: Runtime, world: World, span: Span, period: Period, folded: bool
) -> None:
    await store(runtime, world)
    if folded:
        await fold(runtime)
    async with runtime.database.read() as conn:
        overview = await queries.overview(conn, NOW)
        journeys = await queries.journeys(conn, NAMES)
        reach = {journey_id: await queries.journey(conn, journey_id) for journey_id in (*NAMES, "gone")}
        emails = await queries.emails(conn, span, untemplated=True)
        templated = await queries.emails(conn, span)
        points = await queries.deliverability(conn, period, span)
        hours = await queries.events(conn, Period.HOUR, span)
        counts = await queries.events(conn, period, span)
    _check_overview(overview, world)
    _check_journeys(journeys, world)
    _check_reach(reach, world)

    created = [send for send in world.sends if within(send["created_at"], span)]
    by_template = grouped(created, lambda send: send["template_key"] or "(none)")
    assert dict(emails) == {key: engagement(sends) for key, sends in by_template.items()}
    assert templated == [row for row in emails if row[0] != "(none)"]
    sent = [send for send in created if sent_when(send) is not None]
    by_period = grouped(sent, lambda send: start_of(send["created_at"], period))
    assert points == [(start, engagement(sends)) for start, sends in sorted(by_period.items())]
    assert sum(point.sent for _, point in points) == sum(row.sent for _, row in emails)

    occurred = [event for event in world.events if within(event["occurred_at"], span)]
    for found, each in ((hours, Period.HOUR), (counts, period)):
        expected = Counter((start_of(event["occurred_at"], each), event["name"]) for event in occurred)
        assert [(one.start, one.event, one.count) for one in found] == [
            (*key, count) for key, count in sorted(expected.items())
        ]


def _check_overview(overview: queries.Overview, world: World) -> None:
    alive = {person["id"] for person in world.people if person["deleted_at"] is None}
    away = [row for row in world.preferences if row["contact_id"] in alive and row["unsubscribed_all"]]
    days = {
        limit: [s for s in world.sends if (at := sent_when(s)) and at >= NOW - timedelta(days=limit)]
        for limit in (1, 7, 30)
    }
    bounced = sum(send["bounced_at"] is not None for send in days[30])
    assert overview == queries.Overview(
        total_contacts=len(alive),
        active_journeys=len(
            {run["journey_id"] for run in world.runs if run["status"] in ("pending", "active", "waiting")}
        ),
        emails_sent_24h=len(days[1]),
        emails_sent_7d=len(days[7]),
        emails_sent_30d=len(days[30]),
        bounce_rate_30d=ratio(bounced, len(days[30])),
        unsubscribe_rate=ratio(len(away), len(alive)),
    )


def _check_journeys(journeys: list[queries.JourneyRuns], world: World) -> None:
    runs = grouped(world.runs, lambda run: run["journey_id"])
    assert [row.journey_id for row in journeys] == [*NAMES, *sorted(runs.keys() - NAMES.keys())]
    for row in journeys:
        statuses = Counter(run["status"] for run in runs[row.journey_id])
        lasted = [
            (run["completed_at"] - run["created_at"]).total_seconds()
            for run in runs[row.journey_id]
            if run["status"] == "completed"
        ]
        assert row.name == NAMES.get(row.journey_id, row.journey_id)
        assert row.enrolled == statuses.total()
        assert row.completed == statuses["completed"]
        assert row.failed == statuses["failed"] + statuses["blocked"]
        assert row.exited == statuses["exited"]
        assert row.active == statuses["pending"] + statuses["active"] + statuses["waiting"]
        assert row.completion_rate == ratio(row.completed, row.enrolled)
        assert row.average_seconds == (
            pytest.approx(sum(lasted) / len(lasted), abs=0.001) if lasted else None
        )


def _check_reach(reach: dict[str, queries.JourneyReach], world: World) -> None:
    for journey_id, row in reach.items():
        runs = Counter(run["status"] for run in world.runs if run["journey_id"] == journey_id)
        emails = engagement([send for send in world.sends if send["journey_id"] == journey_id])
        assert row == queries.JourneyReach(
            journey_id=journey_id,
            enrolled=runs.total(),
            email_sent=emails.sent,
            email_opened=emails.opened,
            email_clicked=emails.clicked,
            completed=runs["completed"],
            failed=runs["failed"] + runs["blocked"],
            exited=runs["exited"],
        )


def test_rates_have_something_under_them_or_are_nothing() -> None:
    nothing = Engagement()
    rates = (nothing.delivery_rate, nothing.open_rate, nothing.click_rate, nothing.click_to_delivery_rate)
    assert rates == (0, 0, 0, 0)
    early = Engagement(sent=3, opened=2, clicked=1)
    assert (early.open_rate, early.click_rate, early.click_to_delivery_rate) == (0.6667, 0.5, 0)
    late = Engagement(sent=4, delivered=3, opened=1, clicked=1)
    assert (late.delivery_rate, late.open_rate, late.click_to_delivery_rate) == (0.75, 0.3333, 0.3333)


async def test_a_series_too_long_to_draw_is_refused(
    runtime: Runtime, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "MOST_POINTS", 2)
    hours = [clock.now() + timedelta(hours=hour) for hour in range(3)]
    await store(runtime, World(events=[_event("a", at) for at in hours]))
    async with runtime.database.read() as conn:
        assert len(await queries.events(conn, Period.DAY, Span())) == 1
        with pytest.raises(InvalidInput, match="narrow them"):
            await queries.events(conn, Period.HOUR, Span())
