"""Measures of alert rules: rates over the sends of 30 days, counts over an hour, how late what is due is.

A source reads the database once, in one statement, for all the measures that are made of it. Windows are product
time; what is late is told in seconds, or hours, as people on the wall's side of the clock wait for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import Column, Integer, bindparam, func, literal, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.decisions.reasons import DecisionKind
from hogsend.metrics.queries import rate, sent_since
from hogsend.runtime import Runtime
from hogsend.tables.alerts import invariant_findings
from hogsend.tables.deadletters import dead_letters
from hogsend.tables.decisions import decisions
from hogsend.tables.emails import UNDER_WAY, email_sends

TELL = "alerts.tell"
"""The kind of the job that tells an alert."""
EVERY = timedelta(minutes=1)
"""Real time between two evaluations."""
RATES_OVER = timedelta(days=30)
COUNTS_OVER = timedelta(hours=1)
FINDINGS_OVER = timedelta(days=1)
USUAL_DAYS = 3
FORGOTTEN_AFTER = timedelta(days=30)

Source = Callable[[AsyncConnection, Runtime], Awaitable[Any]]


class Measure(Protocol):
    """One number. `value` makes it of what `source` read; None where there is nothing to measure.

    `over` is the window that is measured, in product time; None for a measure of what is so now.
    """

    @property
    def source(self) -> Source: ...

    @property
    def over(self) -> timedelta | None: ...

    def value(self, read: Any) -> float | None: ...

    def shown(self, value: float) -> str:
        """A value as people read it."""
        ...


@dataclass(frozen=True)
class Sends:
    """How many emails were sent in the window, and to how many of them this happened."""

    sent: int
    delivered: int
    bounced: int
    complained: int
    minimum: int


def window(runtime: Runtime, over: timedelta) -> datetime:
    """Where a window that ends now begins, in product time.

    It is no shorter than the time between two evaluations: at a higher speed nothing falls between two windows.
    """
    return runtime.clock.now() - max(over, runtime.clock.product(EVERY))


async def sends(conn: AsyncConnection, runtime: Runtime) -> Sends:
    """The sends of the last 30 days, by the index on `sent_at`."""
    happened = (email_sends.c.delivered_at, email_sends.c.bounced_at, email_sends.c.complained_at)
    counted = select(func.count(), *(func.count(column) for column in happened)).where(
        sent_since(window(runtime, RATES_OVER))
    )
    row = (await conn.execute(counted)).one()
    return Sends(row[0], row[1], row[2], row[3], runtime.settings.alert_minimum_sends)


@dataclass(frozen=True)
class SendRate:
    """The share of the emails sent to which `what` happened; of fewer than the minimum there is no rate."""

    what: str
    source: Source = sends
    over: timedelta | None = RATES_OVER

    def value(self, read: Sends) -> float | None:
        return rate(getattr(read, self.what), read.sent) if read.sent >= max(read.minimum, 1) else None

    def shown(self, value: float) -> str:
        return f"{value:.2%}"


async def failures(conn: AsyncConnection, runtime: Runtime) -> int:
    """How many runs failed, or were blocked, in the last hour."""
    return await _count_since(
        conn,
        decisions.c.at,
        window(runtime, COUNTS_OVER),
        decisions.c.kind.in_([DecisionKind.FAILED.value, DecisionKind.BLOCKED.value]),
    )


async def letters(conn: AsyncConnection, runtime: Runtime) -> int:
    """How many dead letters were added in the last hour, those of alerts left out: an alert must not bring the next."""
    of_alerts = func.coalesce(dead_letters.c.payload["job"].as_string(), "") == TELL
    return await _count_since(conn, dead_letters.c.created_at, window(runtime, COUNTS_OVER), ~of_alerts)


async def findings(conn: AsyncConnection, runtime: Runtime) -> int:
    """How many broken invariants were found in the last day and have not been seen to hold since."""
    unsettled = invariant_findings.c.settled_at.is_(None)
    return await _count_since(conn, invariant_findings.c.found_at, window(runtime, FINDINGS_OVER), unsettled)


async def _count_since(conn: AsyncConnection, at: Column[Any], since: datetime, *only: Any) -> int:
    counted: int = (await conn.execute(select(func.count()).where(at >= since, *only))).scalar_one()
    return counted


@dataclass(frozen=True)
class Count:
    """How many there are."""

    source: Source
    over: timedelta | None = COUNTS_OVER

    def value(self, read: int) -> float | None:
        return float(read)

    def shown(self, value: float) -> str:
        return f"{value:g}"


# By the index on (journey, creation): for each journey its newest run, and whether each of the days before had one.
_SILENCE = text("""
SELECT max(CAST(:now AS timestamptz) - newest.created_at)
FROM unnest(CAST(:ids AS text[]), CAST(:enabled AS boolean[])) AS journey (id, enabled)
LEFT JOIN journey_settings AS chosen ON chosen.journey_id = journey.id
CROSS JOIN LATERAL (
    SELECT created_at FROM journey_states WHERE journey_id = journey.id ORDER BY created_at DESC, id DESC LIMIT 1
) AS newest
WHERE coalesce(chosen.enabled, journey.enabled)
  AND newest.created_at >= :forgotten
  AND NOT EXISTS (
    SELECT FROM generate_series(1, :days) AS day (number)
    WHERE NOT EXISTS (
        SELECT FROM journey_states AS earlier
        WHERE earlier.journey_id = journey.id
          AND earlier.created_at >= newest.created_at - day.number * interval '1 day'
          AND earlier.created_at < newest.created_at - (day.number - 1) * interval '1 day'))
""").bindparams(bindparam("days", type_=Integer))


async def silence(conn: AsyncConnection, runtime: Runtime) -> timedelta | None:
    """How long ago (product time) the last enrolment was of the journey that has been silent longest.

    Of those that are enabled and usually have enrolments: one on each of the three days before the last one. One that
    has been silent for 30 days is taken for retired. None where no journey is usual.
    """
    now, journeys = runtime.clock.now(), runtime.registry.all()
    found = await conn.execute(
        _SILENCE,
        {
            "now": now,
            "ids": [journey.id for journey in journeys],
            "enabled": [journey.enabled for journey in journeys],
            "forgotten": now - FORGOTTEN_AFTER,
            "days": USUAL_DAYS,
        },
    )
    longest: timedelta | None = found.scalar_one()
    return None if longest is None else max(longest, timedelta(0))


@dataclass(frozen=True)
class Hours:
    """How many hours long what was read is."""

    source: Source
    over: timedelta | None = None

    def value(self, read: timedelta | None) -> float | None:
        return None if read is None else round(read.total_seconds() / 3600, 2)

    def shown(self, value: float) -> str:
        return f"{value:g} hours"


# Each is the first entry of an index in order of time; what somebody holds at the moment is skipped.
_OLDEST_DUE = text("""
SELECT
    (SELECT wake_at FROM journey_states
     WHERE status IN ('pending', 'active', 'waiting') AND wake_at <= :now
       AND (lease_until IS NULL OR lease_until <= :wall)
     ORDER BY wake_at LIMIT 1) AS run,
    (SELECT run_at FROM jobs
     WHERE status IN ('pending', 'running') AND run_at <= :wall
       AND (status = 'pending' OR lease_until <= :wall)
     ORDER BY run_at LIMIT 1) AS job
""")


async def overdue(conn: AsyncConnection, runtime: Runtime) -> timedelta:
    """How long (real time) the oldest run or job that is due has waited for somebody to take it; none is 0."""
    clock = runtime.clock
    now, wall = clock.now(), clock.wall()
    oldest = (await conn.execute(_OLDEST_DUE, {"now": now, "wall": wall})).one()
    late = [clock.real(now - oldest.run)] if oldest.run is not None else []
    late += [wall - oldest.job] if oldest.job is not None else []
    return max(late, default=timedelta(0))


async def unsent(conn: AsyncConnection, runtime: Runtime) -> timedelta:
    """How long ago (real time) the oldest email was asked for that its provider has not taken; none is 0."""
    made = email_sends.c.created_at
    by_status = [
        select(func.min(made)).where(email_sends.c.status == literal(status)).scalar_subquery()
        for status in UNDER_WAY
    ]
    oldest: datetime | None = (await conn.execute(select(func.least(*by_status)))).scalar_one()
    now = runtime.clock.now()
    return timedelta(0) if oldest is None else runtime.clock.real(max(now - oldest, timedelta(0)))


@dataclass(frozen=True)
class Seconds:
    """How many seconds long what was read is."""

    source: Source
    over: timedelta | None = None

    def value(self, read: timedelta) -> float | None:
        return round(read.total_seconds(), 1)

    def shown(self, value: float) -> str:
        return f"{value:g} seconds"


async def measure_all(
    conn: AsyncConnection, runtime: Runtime, measures: Sequence[Measure]
) -> list[float | None]:
    """The value of each measure now, in one statement a source."""
    read: dict[Source, Any] = {}
    for measure in measures:
        if measure.source not in read:
            read[measure.source] = await measure.source(conn, runtime)
    return [measure.value(read[measure.source]) for measure in measures]
