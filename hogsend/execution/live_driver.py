"""Step driver over the database: each step is a few short transactions, fenced by the run's epoch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, delete, select
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.contacts.lookup import lock_person
from hogsend.decisions.reasons import DecisionKind, Reason
from hogsend.enrollment.trigger_chains import chain_guard, links_of_trigger
from hogsend.events.event import NewEvent
from hogsend.execution import lookups as questions
from hogsend.execution.claimed_run import RUN_LEASE, ClaimedRun
from hogsend.execution.send_step import send
from hogsend.ingestion.pipeline import ingest_in
from hogsend.journeys.conditions.builders import Condition, matches_properties
from hogsend.journeys.steps.interrupts import Suspend
from hogsend.journeys.steps.journal import Step, plain
from hogsend.journeys.steps.step_driver import DecisionNote, SendArgs, call_with_timeout, called_value
from hogsend.runtime import Runtime
from hogsend.storage.database import lock_subjects
from hogsend.tables.events import user_events
from hogsend.tables.journeys import journey_steps, journey_waits

_steps = journey_steps.c


class LiveDriver:
    """Drives one claimed run."""

    def __init__(self, runtime: Runtime, run: RowMapping) -> None:
        self.runtime = runtime
        self.run = ClaimedRun(runtime, run)

    async def answer(self, step: Step, ask: str, note: Callable[[Any], DecisionNote | None]) -> Any:
        if step.done:
            return step.result
        async with self.runtime.database.transaction() as conn:
            row = await self.run.lock_and_check(conn)
            answer = plain(await questions.answer(ask, conn, self.runtime, row, step.args))
            await self.run.close(conn, step, answer)
            verdict = note(answer)
            if verdict is not None:
                await self.run.record_decision(conn, verdict.kind, verdict.reason, verdict.detail)
        self.runtime.fault_point(f"after_step:{step.key}")
        return answer

    async def call(self, step: Step, function: Callable[[], Awaitable[Any]], timeout: timedelta) -> Any:
        if not step.done:
            async with self.runtime.database.transaction() as conn:
                await self.run.lock_and_check(conn, lease=timeout + RUN_LEASE)
            result = await call_with_timeout(function, timeout)
            self.runtime.fault_point(f"after_call:{step.key}")
            async with self.runtime.database.transaction() as conn:
                await self.run.lock_and_check(conn)
                await self.run.close(conn, step, result)
            step.result = result
            self.runtime.fault_point(f"after_step:{step.key}")
        return called_value(step.result)

    async def sleep(self, step: Step, until: Callable[[datetime], datetime]) -> None:
        if step.done:
            return
        now = self.runtime.clock.now()
        if step.status == "new":
            step.deadline = until(now)
            async with self.runtime.database.transaction() as conn:
                await self.run.lock_and_check(conn)
                await self.run.open(conn, step)
                await self.run.record_decision(
                    conn, DecisionKind.WAITING, Reason.SLEEPING, {"until": step.deadline.isoformat()}
                )
            self.runtime.fault_point(f"after_arm:{step.key}")
        deadline = _deadline(step)
        if now < deadline:
            raise Suspend(deadline)
        async with self.runtime.database.transaction() as conn:
            await self.run.lock_and_check(conn)
            await self.run.close(conn, step, {}, past=deadline)
            await self.run.record_decision(conn, DecisionKind.RESUMED, Reason.SLEEP_ENDED, {"step": step.key})
        self.runtime.fault_point(f"after_step:{step.key}")

    async def wait(
        self, step: Step, event: str, where: Condition | None, timeout: timedelta
    ) -> dict[str, Any]:
        if step.done:
            return dict(step.result)
        async with self.runtime.database.transaction() as conn:
            await lock_subjects(conn, [self.run.contact_id])
            row = await self.run.lock_and_check(conn)
            armed = await self._rearm(conn, row, step, timeout)
            if step.done:
                return dict(step.result)
            result = await self._last_look(conn, step, event, where)
            if result is not None:
                await self._end_wait(conn, step, result)
            else:
                await self._arm_wait(conn, step, event, where, new=armed)
        self.runtime.fault_point(f"after_arm:{step.key}")
        if result is None:
            raise Suspend(_deadline(step))
        return result

    async def digest(
        self, step: Step, event: str, where: Condition | None, window: timedelta
    ) -> list[dict[str, Any]]:
        if step.done:
            return list(step.result)
        found: list[dict[str, Any]] | None = None
        async with self.runtime.database.transaction() as conn:
            await lock_subjects(conn, [self.run.contact_id])
            row = await self.run.lock_and_check(conn)
            if await self._rearm(conn, row, step, window):
                await self.run.open(conn, step)
                detail = {"event": event, "until": _deadline(step).isoformat()}
                await self.run.record_decision(conn, DecisionKind.WAITING, Reason.COLLECTING_EVENTS, detail)
            if self.runtime.clock.now() >= _deadline(step):
                found = [_event_json(row) for row in await self._arrived(conn, step, event, where)]
                await self.run.close(conn, step, found, past=_deadline(step))
                await self.run.record_decision(
                    conn, DecisionKind.RESUMED, Reason.WINDOW_ENDED, {"events": len(found)}
                )
        self.runtime.fault_point(f"after_arm:{step.key}")
        if found is None:
            raise Suspend(_deadline(step))
        return found

    async def send(self, step: Step, outgoing: SendArgs) -> dict[str, Any]:
        if step.done:
            return dict(step.result)
        return await send(self.run, step, outgoing)

    async def trigger(self, step: Step, event: str, properties: Mapping[str, Any]) -> None:
        if step.done:
            return
        async with self.runtime.database.transaction() as conn:
            await lock_person(conn, self.run.contact_id)
            row = await self.run.lock_and_check(conn)
            event_id, kind, reason, why = await self._let_happen(conn, row, step, event, properties)
            await self.run.close(conn, step, {"event_id": event_id}, past=self.runtime.clock.now())
            await self.run.record_decision(conn, kind, reason, {"event": event, "event_id": event_id} | why)
        self.runtime.fault_point(f"after_step:{step.key}")

    async def _let_happen(
        self, conn: AsyncConnection, run: RowMapping, step: Step, event: str, properties: Mapping[str, Any]
    ) -> tuple[str | None, DecisionKind, Reason, dict[str, Any]]:
        """The event that a run triggers, and the verdict. Behind the last one of a chain that is too long, none."""
        links = await links_of_trigger(conn, run, self.runtime.clock.now())
        # The first one too many is stored, for the record of what it does not start. A wait may have ended by it.
        refused = chain_guard(links.depth, links.chain, more=1)
        if refused is not None:
            return None, DecisionKind.SKIPPED, Reason.TRIGGER_CHAIN_TOO_LONG, {"guards": [refused.to_json()]}
        contact = await self.run.contact(conn)
        result = await ingest_in(
            conn,
            self.runtime,
            NewEvent(
                name=event,
                external_id=contact["external_id"],
                email=contact["email"],
                anonymous_id=contact["anonymous_id"],
                properties=properties,
                idempotency_key=f"step:{self.run.run_id}:{step.key}",
                source="journey",
                depth=links.depth,
                chain=links.chain,
            ),
        )
        return str(result.event_id), DecisionKind.BRANCHED, Reason.EVENT_TRIGGERED, {}

    async def _rearm(self, conn: AsyncConnection, run: RowMapping, step: Step, span: timedelta) -> bool:
        """Read an open step again under the lock, or give a new one its window. True where it is new."""
        if step.status == "new":
            step.deadline = self.runtime.clock.now() + span
            step.since_seq = run["cursor_seq"]
            return True
        row = (
            await conn.execute(
                select(journey_steps).where(_steps.state_id == self.run.run_id, _steps.key == step.key)
            )
        ).one()
        step.status, step.result = row.status, row.result
        step.deadline, step.since_seq = row.deadline, row.since_seq
        return False

    async def _last_look(
        self, conn: AsyncConnection, step: Step, event: str, where: Condition | None
    ) -> dict[str, Any] | None:
        """How an armed wait ends now: by an event that has arrived, by its timeout, or not yet."""
        for row in await self._arrived(conn, step, event, where, first=True):
            return {"timed_out": False, "seq": row["seq"], **_event_json(row)}
        return {"timed_out": True} if self.runtime.clock.now() >= _deadline(step) else None

    async def _arrived(
        self, conn: AsyncConnection, step: Step, event: str, where: Condition | None, *, first: bool = False
    ) -> list[RowMapping]:
        """The events in a step's window, oldest first; only the first where that is enough."""
        events = user_events.c
        query = (
            select(user_events)
            .where(
                events.contact_id == self.run.contact_id,
                events.name == event,
                events.seq > (step.since_seq or 0),
                events.received_at <= _deadline(step),
            )
            .order_by(events.seq)
        )
        if first and where is None:
            query = query.limit(1)
        rows = (await conn.execute(query)).mappings().all()
        if where is None or not rows:
            return list(rows)
        properties = (await self.run.contact(conn))["properties"]
        return [row for row in rows if matches_properties(where, row["properties"], properties)]

    async def _arm_wait(
        self, conn: AsyncConnection, step: Step, event: str, where: Condition | None, *, new: bool
    ) -> None:
        """Listen for the event; anew where the run was blocked meanwhile, which dropped its wait."""
        if new:
            await self.run.open(conn, step)
            detail = {"event": event, "until": _deadline(step).isoformat()}
            await self.run.record_decision(conn, DecisionKind.WAITING, Reason.AWAITING_EVENT, detail)
        values = {
            "state_id": self.run.run_id,
            "step_key": step.key,
            "contact_id": self.run.contact_id,
            "event": event,
            "conditions": None if where is None else where.to_json(),
            "since_seq": step.since_seq,
            "deadline": step.deadline,
        }
        await conn.execute(
            pg_insert(journey_waits)
            .values(values)
            .on_conflict_do_update(index_elements=[journey_waits.c.state_id], set_=values)
        )

    async def _end_wait(self, conn: AsyncConnection, step: Step, result: dict[str, Any]) -> None:
        await conn.execute(delete(journey_waits).where(journey_waits.c.state_id == self.run.run_id))
        if result["timed_out"]:
            await self.run.close(conn, step, result, past=_deadline(step))
            await self.run.record_decision(
                conn, DecisionKind.RESUMED, Reason.WAIT_TIMED_OUT, {"step": step.key}
            )
            return
        await self.run.close(conn, step, result, cursor=result["seq"])
        await self.run.record_decision(
            conn,
            DecisionKind.RESUMED,
            Reason.EVENT_ARRIVED,
            {"step": step.key},
            event_id=UUID(result["event_id"]),
        )


def _event_json(row: RowMapping) -> dict[str, Any]:
    return {
        "event_id": str(row["id"]),
        "properties": row["properties"],
        "occurred_at": row["occurred_at"].isoformat(),
    }


def _deadline(step: Step) -> datetime:
    if step.deadline is None:
        raise RuntimeError(f"{step.key} was armed without a deadline")
    return step.deadline
