"""Count contacts, runs, sends and events, from the rows themselves.

Every instant that bounds a window is product time and comes from the caller. Dates are days of UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, and_, distinct, extract, func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.errors import InvalidInput
from hogsend.tables.contacts import contact_preferences, contacts
from hogsend.tables.emails import email_sends
from hogsend.tables.events import user_events
from hogsend.tables.journeys import DRIVEN_STATUSES, STUCK_STATUSES, journey_states

MOST_POINTS = 20_000
UNTEMPLATED = "(none)"

_contacts = contacts.c
_preferences = contact_preferences.c
_sends = email_sends.c
_states = journey_states.c
_events = user_events.c

# Each of the later instants proves that the provider had the message, also where its answer was lost.
sent_when: ColumnElement[Any] = func.coalesce(
    _sends.sent_at,
    func.least(
        _sends.delivered_at, _sends.opened_at, _sends.clicked_at, _sends.bounced_at, _sends.complained_at
    ),
)


class Period(Enum):
    """How long one point of a series is."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True)
class Span:
    """A window in time, both ends within it; an end that is None is open."""

    start: datetime | None = None
    end: datetime | None = None

    def holds(self, column: ColumnElement[Any]) -> list[ColumnElement[bool]]:
        bounds = []
        if self.start is not None:
            bounds.append(column >= self.start)
        if self.end is not None:
            bounds.append(column <= self.end)
        return bounds


@dataclass(frozen=True)
class Overview:
    """Contacts that are not deleted, journeys that somebody is in, sends of the last days; rates are 0 to 1."""

    total_contacts: int
    active_journeys: int
    emails_sent_24h: int
    emails_sent_7d: int
    emails_sent_30d: int
    bounce_rate_30d: float
    unsubscribe_rate: float


@dataclass(frozen=True)
class JourneyRuns:
    """All runs of one journey, ever. `average_seconds` is from entry to completion, None where none completed."""

    journey_id: str
    name: str
    enrolled: int = 0
    completed: int = 0
    failed: int = 0
    exited: int = 0
    active: int = 0
    average_seconds: float | None = None

    @property
    def completion_rate(self) -> float:
        return rate(self.completed, self.enrolled)


@dataclass(frozen=True)
class JourneyReach:
    """One journey's runs, and what became of its emails."""

    journey_id: str
    enrolled: int
    email_sent: int
    email_opened: int
    email_clicked: int
    completed: int
    failed: int
    exited: int


@dataclass(frozen=True)
class Engagement:
    """What ever happened to a set of emails. Rates are rounded to 4 places, and 0 with nothing under them."""

    sent: int = 0
    delivered: int = 0
    opened: int = 0
    clicked: int = 0
    bounced: int = 0
    complained: int = 0

    @property
    def delivery_rate(self) -> float:
        return rate(self.delivered, self.sent)

    @property
    def open_rate(self) -> float:
        """Of those delivered; of those sent where nothing is known to be delivered yet."""
        return rate(self.opened, self.delivered or self.sent)

    @property
    def click_rate(self) -> float:
        return rate(self.clicked, self.opened)

    @property
    def click_to_delivery_rate(self) -> float:
        return rate(self.clicked, self.delivered)


@dataclass(frozen=True)
class EventCount:
    """How often an event occurred in the period that starts at `start`."""

    event: str
    start: datetime
    count: int


def rate(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


async def overview(conn: AsyncConnection, now: datetime) -> Overview:
    """One statement. `now` is product time."""
    day, week, month = (now - timedelta(days=days) for days in (1, 7, 30))
    people = (
        select(
            func.count().label("contacts"),
            func.count().filter(_preferences.unsubscribed_all).label("unsubscribed"),
        )
        .select_from(contacts.outerjoin(contact_preferences, _preferences.contact_id == _contacts.id))
        .where(_contacts.deleted_at.is_(None))
        .subquery("people")
    )
    journeys = (
        select(func.count(distinct(_states.journey_id)).label("journeys"))
        .where(_states.status.in_(DRIVEN_STATUSES))
        .subquery("running")
    )
    sends = (
        select(
            func.count().filter(sent_when >= day).label("day"),
            func.count().filter(sent_when >= week).label("week"),
            func.count().label("month"),
            func.count(_sends.bounced_at).label("bounced"),
        )
        .where(sent_since(month))
        .subquery("sends")
    )
    together = people.join(journeys, true()).join(sends, true())
    row = (await conn.execute(select(people, journeys, sends).select_from(together))).mappings().one()
    return Overview(
        total_contacts=row["contacts"],
        active_journeys=row["journeys"],
        emails_sent_24h=row["day"],
        emails_sent_7d=row["week"],
        emails_sent_30d=row["month"],
        bounce_rate_30d=rate(row["bounced"], row["month"]),
        unsubscribe_rate=rate(row["unsubscribed"], row["contacts"]),
    )


def sent_since(since: datetime) -> ColumnElement[bool]:
    """The emails that were sent at `since` or later; spelled so that the index on `sent_at` serves it."""
    return or_(_sends.sent_at >= since, and_(_sends.sent_at.is_(None), sent_when >= since))


async def journeys(conn: AsyncConnection, names: Mapping[str, str]) -> list[JourneyRuns]:
    """The journeys of `names` (id → name) in that order, then those that are gone from the code but have runs."""
    statement = _runs(
        _states.journey_id,
        func.avg(extract("epoch", _states.completed_at - _states.created_at))
        .filter(_states.status == "completed")
        .label("average"),
    ).group_by(_states.journey_id)
    found = {row["journey_id"]: row for row in (await conn.execute(statement)).mappings()}
    order = [*names, *sorted(found.keys() - names.keys())]
    return [_journey_runs(journey_id, names.get(journey_id), found.get(journey_id)) for journey_id in order]


def _runs(*columns: ColumnElement[Any]) -> Select[Any]:
    """Runs by status, as the wire shows statuses: `pending` is active, `blocked` is failed."""
    return select(
        *columns,
        func.count().label("enrolled"),
        func.count().filter(_states.status == "completed").label("completed"),
        func.count().filter(_states.status.in_(STUCK_STATUSES)).label("failed"),
        func.count().filter(_states.status == "exited").label("exited"),
        func.count().filter(_states.status.in_(DRIVEN_STATUSES)).label("active"),
    )


def _journey_runs(journey_id: str, name: str | None, row: Mapping[str, Any] | None) -> JourneyRuns:
    if row is None:
        return JourneyRuns(journey_id, name or journey_id)
    return JourneyRuns(
        journey_id=journey_id,
        name=name or journey_id,
        enrolled=row["enrolled"],
        completed=row["completed"],
        failed=row["failed"],
        exited=row["exited"],
        active=row["active"],
        average_seconds=None if row["average"] is None else round(float(row["average"]), 3),
    )


async def journey(conn: AsyncConnection, journey_id: str) -> JourneyReach:
    """One journey's numbers; all 0 where nothing is known of it."""
    runs = _runs().where(_states.journey_id == journey_id).subquery("runs")
    emails = _engagement().where(_sends.journey_id == journey_id).subquery("emails")
    row = (await conn.execute(select(runs, emails).select_from(runs.join(emails, true())))).mappings().one()
    return JourneyReach(
        journey_id=journey_id,
        enrolled=row["enrolled"],
        email_sent=row["sent"],
        email_opened=row["opened"],
        email_clicked=row["clicked"],
        completed=row["completed"],
        failed=row["failed"],
        exited=row["exited"],
    )


def _engagement(*columns: ColumnElement[Any], source: FromClause = email_sends) -> Select[Any]:
    happened = {name: func.count(_sends[f"{name}_at"]) for name in _HAPPENED}
    return select(
        *columns,
        func.count(sent_when).label("sent"),
        *(count.label(name) for name, count in happened.items()),
    ).select_from(source)


_HAPPENED = ("delivered", "opened", "clicked", "bounced", "complained")


def _engaged(row: Mapping[str, Any]) -> Engagement:
    return Engagement(row["sent"], *(row[name] for name in _HAPPENED))


async def emails(
    conn: AsyncConnection, span: Span, *, untemplated: bool = False
) -> list[tuple[str, Engagement]]:
    """By template, of the sends that were created within `span`; `untemplated` ones under `(none)`, last."""
    statement = (
        _engagement(_sends.template_key)
        .where(*span.holds(_sends.created_at))
        .group_by(_sends.template_key)
        .order_by(_sends.template_key.asc().nulls_last())
    )
    if not untemplated:
        statement = statement.where(_sends.template_key.is_not(None))
    rows = (await conn.execute(statement)).mappings().all()
    return [(row["template_key"] or UNTEMPLATED, _engaged(row)) for row in rows]


async def deliverability(
    conn: AsyncConnection, period: Period, span: Span
) -> list[tuple[datetime, Engagement]]:
    """What became of what was sent, by the period in which it was created, oldest first; empty ones are left out.

    Raises `InvalidInput` where there are more points than anyone can draw.
    """
    start = func.date_trunc(period.value, _sends.created_at, "UTC").label("start")
    statement = _engagement(start).where(sent_when.is_not(None), *span.holds(_sends.created_at))
    rows = await _points(conn, statement.group_by(start).order_by(start))
    return [(row["start"], _engaged(row)) for row in rows]


async def events(conn: AsyncConnection, granularity: Period, span: Span) -> list[EventCount]:
    """How often each event occurred, oldest first, then by name. Raises as `deliverability` does."""
    start = func.date_trunc(granularity.value, _events.occurred_at, "UTC").label("start")
    statement = (
        select(start, _events.name, func.count().label("count"))
        .where(*span.holds(_events.occurred_at))
        .group_by(start, _events.name)
        .order_by(start, _events.name)
    )
    return [EventCount(row["name"], row["start"], row["count"]) for row in await _points(conn, statement)]


async def _points(conn: AsyncConnection, statement: Select[Any]) -> Sequence[Mapping[str, Any]]:
    rows: Sequence[Mapping[str, Any]] = (
        (await conn.execute(statement.limit(MOST_POINTS + 1))).mappings().all()
    )
    if len(rows) > MOST_POINTS:
        raise InvalidInput(
            "from", f"from and to span more than {MOST_POINTS} points: narrow them, or take a longer period"
        )
    return rows
