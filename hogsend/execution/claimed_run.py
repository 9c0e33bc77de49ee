"""A claimed run: what its driver may write, and only while its epoch and lease hold."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, RowMapping, Update, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.decisions.ledger import NewDecision, record_decision
from hogsend.decisions.reasons import DecisionKind, Reason
from hogsend.journeys.steps.interrupts import LeaseLost, RunEnded
from hogsend.journeys.steps.journal import Step
from hogsend.runtime import Runtime
from hogsend.storage.metadata import new_id
from hogsend.tables.contacts import contacts
from hogsend.tables.events import user_events
from hogsend.tables.journeys import LIVE_STATUSES, journey_states, journey_steps

RUN_LEASE = timedelta(seconds=60)
_states = journey_states.c
_steps = journey_steps.c
_events = user_events.c

# Built once: a slice asks each of these, and building one costs as much as asking it.
_GUARD = (
    update(journey_states)
    .where(_states.id == bindparam("run"), _states.epoch == bindparam("held"), _states.status == "active")
    .values(lease_until=bindparam("leased"))
    .returning(journey_states)
)
_OPEN = pg_insert(journey_steps)
_CLOSE = _OPEN.on_conflict_do_update(
    index_elements=[_steps.state_id, _steps.key],
    set_={name: _OPEN.excluded[name] for name in ("status", "result", "closed_at")},
    where=_steps.status == "open",
)


def _noting(cursor: ColumnElement[int]) -> Update:
    return (
        update(journey_states)
        .where(_states.id == bindparam("run"))
        .values(
            current_node=bindparam("node"),
            attempt=0,
            cursor_seq=func.greatest(_states.cursor_seq, cursor),
            updated_at=bindparam("now"),
        )
    )


_NOTE = _noting(bindparam("cursor", type_=BigInteger))
_NOTE_PAST = _noting(
    select(func.coalesce(func.max(_events.seq), 0))
    .where(_events.contact_id == bindparam("contact"), _events.received_at <= bindparam("past"))
    .scalar_subquery()
)


class ClaimedRun:
    """One claimed run. `epoch` is the claim: whoever raises it fences the driver that holds this.

    Each method but `lock_and_check` expects that it ran first in the same transaction, so that the row is locked.
    """

    def __init__(self, runtime: Runtime, run: RowMapping) -> None:
        self.runtime = runtime
        self.run_id: UUID = run["id"]
        self.journey_id: str = run["journey_id"]
        self.contact_id: UUID = run["contact_id"]
        self.epoch: int = run["epoch"]

    async def lock_and_check(self, conn: AsyncConnection, lease: timedelta = RUN_LEASE) -> RowMapping:
        """Lock the run for this transaction, see that it is still ours, and renew the lease (real time).

        Raises `RunEnded` or `LeaseLost`. Where the subject's lock is needed too, take that first.
        """
        lease_until = self.runtime.clock.wall() + lease
        values = {"run": self.run_id, "held": self.epoch, "leased": lease_until}
        held = await conn.execute(_GUARD, values)
        run: RowMapping | None = held.mappings().one_or_none()
        if run is not None:
            self.contact_id = run["contact_id"]
            return run
        found = await conn.execute(select(_states.status).where(_states.id == self.run_id))
        raise (LeaseLost if found.scalar_one() in LIVE_STATUSES else RunEnded)(str(self.run_id))

    async def lock(self, conn: AsyncConnection) -> None:
        """Lock the run whoever drives it, and learn whose it is now: for what must be recorded in any case."""
        held = select(_states.contact_id).where(_states.id == self.run_id).with_for_update()
        self.contact_id = (await conn.execute(held)).scalar_one()

    async def contact(self, conn: AsyncConnection) -> RowMapping:
        """Whose run it is, as they are now."""
        return (await conn.execute(select(contacts).where(contacts.c.id == self.contact_id))).mappings().one()

    async def open(self, conn: AsyncConnection, step: Step) -> None:
        """Write a step that is under way."""
        now = self.runtime.clock.now()
        await conn.execute(_OPEN, self._row(step, "open", now))
        await conn.execute(_NOTE, self._noted(step, now) | {"cursor": 0})
        step.status = "open"

    async def close(
        self,
        conn: AsyncConnection,
        step: Step,
        result: Any,
        *,
        past: datetime | None = None,
        cursor: int | None = None,
    ) -> None:
        """Write a step's result.

        Where it let time pass, the next window begins behind it: behind event `cursor` where an event ended it, else
        behind what had arrived by `past`. Any other step leaves the window open, so that what arrives while it is
        under way counts for the wait behind it, however long a crash or an outage makes it take.
        """
        now = self.runtime.clock.now()
        row = self._row(step, "done", now) | {"result": result, "closed_at": now}
        await conn.execute(_CLOSE, row)
        noted = self._noted(step, now)
        if past is None:
            await conn.execute(_NOTE, noted | {"cursor": cursor or 0})
        else:
            await conn.execute(_NOTE_PAST, noted | {"contact": self.contact_id, "past": past})
        step.status, step.result = "done", result

    async def record_decision(
        self,
        conn: AsyncConnection,
        kind: DecisionKind,
        reason: Reason,
        detail: Mapping[str, Any],
        event_id: UUID | None = None,
    ) -> None:
        """Record a verdict of this run."""
        await record_decision(
            conn,
            self.runtime.clock.now(),
            NewDecision(
                kind=kind,
                reason=reason,
                detail=detail,
                contact_id=self.contact_id,
                journey_id=self.journey_id,
                state_id=self.run_id,
                event_id=event_id,
            ),
        )

    def _noted(self, step: Step, now: datetime) -> dict[str, Any]:
        return {"run": self.run_id, "node": step.label, "now": now}

    def _row(self, step: Step, status: str, now: datetime) -> dict[str, Any]:
        return {
            "id": new_id(),
            "state_id": self.run_id,
            "key": step.key,
            "seq": step.seq,
            "kind": step.kind,
            "label": step.label,
            "fingerprint": step.fingerprint,
            "status": status,
            "args": dict(step.args),
            "deadline": step.deadline,
            "since_seq": step.since_seq,
            "epoch": self.epoch,
            "opened_at": now,
        }
