"""Count contacts, runs, sends and events, from their rollups: what it costs does not grow with the rows.

Every instant that bounds a window is product time and comes from the caller. Dates are days of UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from typing import Any

from sqlalchemy import ColumnElement, FromClause, RowMapping, Select, and_, func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from hogsend.errors import InvalidInput
from hogsend.metrics.periods import Period, Reach, Span
from hogsend.metrics.rollups import CONTACTS, EMAILS, EVENTS, RUNS, SENT, total
from hogsend.storage.database import Record
from hogsend.tables.emails import email_sends
from hogsend.tables.journeys import DRIVEN_STATUSES, STUCK_STATUSES

MOST_POINTS = 20_000
UNTEMPLATED = "(none)"

_sends = email_sends.c

# Each of these instants proves that the provider had the message, also where its answer was lost.
_first_heard: ColumnElement[Any] = func.least(
    _sends.delivered_at, _sends.opened_at, _sends.clicked_at, _sends.bounced_at, _sends.complained_at
)


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
    people = CONTACTS.ever()
    contacts = select(total(people.c.contacts).label("contacts"), total(people.c.unsubscribed).label("away"))
    runs = RUNS.ever()
    entered = (
        select(runs.c.journey_id)
        .where(runs.c.status.in_(DRIVEN_STATUSES))
        .group_by(runs.c.journey_id)
        .having(total(runs.c.runs) > 0)
    )
    parts: list[FromClause] = [
        contacts.subquery("people"),
        select(func.count().label("journeys")).select_from(entered.subquery()).subquery("running"),
        *(_sent_within(now, days).subquery(f"days{days}") for days in (1, 7, 30)),
    ]
    together = reduce(lambda left, right: left.join(right, true()), parts[1:], parts[0])
    row = (await conn.execute(select(*parts).select_from(together))).mappings().one()
    return Overview(
        total_contacts=row["contacts"],
        active_journeys=row["journeys"],
        emails_sent_24h=row["sent1"],
        emails_sent_7d=row["sent7"],
        emails_sent_30d=row["sent30"],
        bounce_rate_30d=rate(row["bounced30"], row["sent30"]),
        unsubscribe_rate=rate(row["away"], row["contacts"]),
    )


def _sent_within(now: datetime, days: int) -> Select[Any]:
    sent = SENT.within(Reach(now - timedelta(days=days)))
    return select(total(sent.c.sent).label(f"sent{days}"), total(sent.c.bounced).label(f"bounced{days}"))


def sent_since(since: datetime) -> ColumnElement[bool]:
    """The emails that were sent at `since` or later; spelled so that the indexes of both instants serve it."""
    return or_(_sends.sent_at >= since, and_(_sends.sent_at.is_(None), _first_heard >= since))


async def journeys(conn: AsyncConnection, names: Mapping[str, str]) -> list[JourneyRuns]:
    """The journeys of `names` (id → name) in that order, then those that are gone from the code but have runs."""
    runs = RUNS.ever().c
    statement = (
        select(
            runs.journey_id,
            *_by_status(runs),
            total(runs.timed).label("timed"),
            total(runs.microseconds).label("microseconds"),
        )
        .group_by(runs.journey_id)
        .having(total(runs.runs) > 0)
    )
    found = {row["journey_id"]: row for row in (await conn.execute(statement)).mappings()}
    order = [*names, *sorted(found.keys() - names.keys())]
    return [_journey_runs(journey_id, names.get(journey_id), found.get(journey_id)) for journey_id in order]


def runs_by_status(journey_ids: Sequence[str]) -> Select[Any]:
    """How many runs each of these journeys has in each status: rows of `journey_id`, `status` and `runs`."""
    runs = RUNS.ever().c
    return (
        select(runs.journey_id, runs.status, total(runs.runs).label("runs"))
        .where(runs.journey_id.in_(journey_ids))
        .group_by(runs.journey_id, runs.status)
    )


def _by_status(runs: ReadOnlyColumnCollection[str, Any]) -> list[ColumnElement[Any]]:
    """Runs by status, as the wire shows statuses: `pending` is active, `blocked` is failed."""
    shown = {
        "completed": ("completed",),
        "failed": STUCK_STATUSES,
        "exited": ("exited",),
        "active": DRIVEN_STATUSES,
    }
    counts = [total(runs.runs, runs.status.in_(statuses)).label(name) for name, statuses in shown.items()]
    return [total(runs.runs).label("enrolled"), *counts]


def _journey_runs(journey_id: str, name: str | None, row: Record | None) -> JourneyRuns:
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
        average_seconds=round(row["microseconds"] / row["timed"] / 1e6, 3) if row["timed"] else None,
    )


async def journey(conn: AsyncConnection, journey_id: str) -> JourneyReach:
    """One journey's numbers; all 0 where nothing is known of it."""
    its_runs, its_emails = RUNS.ever().c, EMAILS.ever().c
    runs = select(*_by_status(its_runs)).where(its_runs.journey_id == journey_id).subquery("runs")
    emails = select(*_engagement(its_emails)).where(its_emails.journey_id == journey_id).subquery("emails")
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


_HAPPENED = ("delivered", "opened", "clicked", "bounced", "complained")


def _engagement(emails: ReadOnlyColumnCollection[str, Any]) -> list[ColumnElement[Any]]:
    return [total(emails[name]).label(name) for name in ("sent", *_HAPPENED)]


def _engaged(row: Record) -> Engagement:
    return Engagement(row["sent"], *(row[name] for name in _HAPPENED))


async def emails(
    conn: AsyncConnection, span: Span, *, untemplated: bool = False
) -> list[tuple[str, Engagement]]:
    """By template, of the sends that were created within `span`; `untemplated` ones under `(none)`, last."""
    found = (EMAILS.ever() if span == Span() else EMAILS.within(span.reach())).c
    statement = (
        select(found.template_key, *_engagement(found))
        .group_by(found.template_key)
        .having(total(found.requested) > 0)
        .order_by(found.template_key.asc().nulls_last())
    )
    if not untemplated:
        statement = statement.where(found.template_key.is_not(None))
    rows = (await conn.execute(statement)).mappings().all()
    return [(row["template_key"] or UNTEMPLATED, _engaged(row)) for row in rows]


async def deliverability(
    conn: AsyncConnection, period: Period, span: Span
) -> list[tuple[datetime, Engagement]]:
    """What became of what was sent, by the period in which it was created, oldest first; empty ones are left out.

    Raises `InvalidInput` where there are more points than anyone can draw.
    """
    found = EMAILS.within(span.reach(), by_day=period is not Period.HOUR).c
    start = func.date_trunc(period.value, found.at, "UTC").label("start")
    statement = select(start, *_engagement(found)).group_by(start).having(total(found.sent) > 0)
    return [(row["start"], _engaged(row)) for row in await _points(conn, statement.order_by(start))]


async def events(conn: AsyncConnection, granularity: Period, span: Span) -> list[EventCount]:
    """How often each event occurred, oldest first, then by name. Raises as `deliverability` does."""
    found = EVENTS.within(span.reach(), by_day=granularity is not Period.HOUR).c
    start = func.date_trunc(granularity.value, found.at, "UTC").label("start")
    counted = total(found["count"])
    statement = (
        select(start, found.name, counted.label("count"))
        .group_by(start, found.name)
        .having(counted > 0)
        .order_by(start, found.name)
    )
    return [EventCount(row["name"], row["start"], row["count"]) for row in await _points(conn, statement)]


async def _points(conn: AsyncConnection, statement: Select[Any]) -> Sequence[RowMapping]:
    rows: Sequence[RowMapping] = (await conn.execute(statement.limit(MOST_POINTS + 1))).mappings().all()
    if len(rows) > MOST_POINTS:
        raise InvalidInput(
            "from", f"from and to span more than {MOST_POINTS} points: narrow them, or take a longer period"
        )
    return rows
