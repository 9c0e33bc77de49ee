"""The versions of each journey that were seen: how many runs each has, and how they would fare with today's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select, union, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.journeys.definition import Journey
from hogsend.tables.journeys import LIVE_STATUSES, journey_states, journey_versions

_states = journey_states.c
_versions = journey_versions.c


@dataclass(frozen=True)
class Check:
    """How the parked runs of one version would go on with the code of today.

    `against` is today's version, None where the journey is gone. Of `parked` runs the newest `checked` were
    replayed; `breaking` of those would stop, the newest one, `run_id`, at `mismatch`.
    """

    journey_id: str
    version: str
    against: str | None
    parked: int
    checked: int
    breaking: int = 0
    mismatch: str | None = None
    run_id: UUID | None = None


async def keep_versions(
    conn: AsyncConnection, now: datetime, journeys: Iterable[Journey], checks: Iterable[Check]
) -> None:
    """Note the versions of `journeys`, and keep these checks in place of all earlier ones.

    In the caller's transaction.
    """
    await conn.execute(
        update(journey_versions).where(_versions.checked_at.is_not(None)).values(_columns(None, None))
    )
    for journey in sorted(journeys, key=lambda one: one.id):
        seen = {"journey_id": journey.id, "version": journey.version, "first_seen_at": now}
        await conn.execute(pg_insert(journey_versions).values(seen).on_conflict_do_nothing())
    for check in checks:
        values = _columns(check, now)
        seen = {"journey_id": check.journey_id, "version": check.version, "first_seen_at": now}
        await conn.execute(
            pg_insert(journey_versions)
            .values(seen | values)
            .on_conflict_do_update(index_elements=[_versions.journey_id, _versions.version], set_=values)
        )


def _columns(check: Check | None, at: datetime | None) -> dict[str, Any]:
    return {
        "checked_at": at,
        "checked_against": check.against if check else None,
        "parked_runs": check.parked if check else None,
        "checked_runs": check.checked if check else None,
        "breaking_runs": check.breaking if check else None,
        "first_mismatch": check.mismatch if check else None,
        "breaking_run_id": check.run_id if check else None,
    }


def by_version(journey_ids: Sequence[str]) -> Select[Any]:
    """Each version of these journeys that was seen or has live runs, the newest first.

    Columns: those of `journey_versions`, and `live_runs`. Where no worker started with a version yet, or it was
    started with before versions were kept, `first_seen_at` is when the first of its live runs began.
    """
    live = (
        select(
            _states.journey_id,
            _states.version,
            func.count().label("runs"),
            func.min(_states.created_at).label("began_at"),
        )
        .where(_states.journey_id.in_(journey_ids), _states.status.in_(LIVE_STATUSES))
        .group_by(_states.journey_id, _states.version)
        .cte("live")
    )
    known = union(
        select(live.c.journey_id, live.c.version),
        select(_versions.journey_id, _versions.version).where(_versions.journey_id.in_(journey_ids)),
    ).subquery("known")
    seen = func.coalesce(_versions.first_seen_at, live.c.began_at).label("first_seen_at")
    more = [column for column in _versions if column.name not in ("journey_id", "version", "first_seen_at")]
    of_known = (_versions.journey_id == known.c.journey_id) & (_versions.version == known.c.version)
    live_of_known = (live.c.journey_id == known.c.journey_id) & (live.c.version == known.c.version)
    return (
        select(
            known.c.journey_id,
            known.c.version,
            seen,
            func.coalesce(live.c.runs, 0).label("live_runs"),
            *more,
        )
        .select_from(known)
        .outerjoin(journey_versions, of_known)
        .outerjoin(live, live_of_known)
        .order_by(known.c.journey_id, seen.desc(), known.c.version)
    )
