"""Steps that happen in the database. Each is a few short transactions, fenced by the run's epoch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.contacts.identity import lock_person
from hogsend.contacts.tables import contacts
from hogsend.decisions.actions import decide
from hogsend.decisions.reasons import Kind, Reason
from hogsend.emails.render import TemplateNotFound
from hogsend.emails.sending import Outcome, SendRequest, deliver, email_id_for, prepare
from hogsend.emails.templating import RenderError
from hogsend.events.ingest import IngestInput, ingest_in
from hogsend.events.tables import user_events
from hogsend.journeys import questions
from hogsend.journeys.conditions import Condition, matches_properties
from hogsend.journeys.context import Branch, Outgoing, StepFailed
from hogsend.journeys.interrupts import Blocked, Broken, Fenced, RunEnded, Suspend
from hogsend.journeys.journal import Step, plain
from hogsend.journeys.tables import LIVE_STATUSES, journey_states, journey_steps, journey_waits
from hogsend.runtime import Runtime
from hogsend.storage.database import lock_subjects
from hogsend.storage.metadata import new_id

RUN_LEASE = timedelta(seconds=60)
_states = journey_states.c
_steps = journey_steps.c


class LiveDriver:
    """Drives one claimed run. `epoch` is the claim: whoever raises it fences this driver."""

    def __init__(self, runtime: Runtime, run: RowMapping) -> None:
        self.runtime = runtime
        self.run_id: UUID = run["id"]
        self.journey_id: str = run["journey_id"]
        self.contact_id: UUID = run["contact_id"]
        self.epoch: int = run["epoch"]

    async def guard(self, conn: AsyncConnection) -> RowMapping:
        """Lock the run for this transaction, see that it is still ours, and renew the lease.

        Raises `RunEnded` or `Fenced`. Where the subject's lock is needed too, take that first.
        """
        held = await conn.execute(
            update(journey_states)
            .where(_states.id == self.run_id, _states.epoch == self.epoch, _states.status == "active")
            .values(lease_until=self.runtime.clock.wall() + RUN_LEASE)
            .returning(journey_states)
        )
        run: RowMapping | None = held.mappings().one_or_none()
        if run is not None:
            self.contact_id = run["contact_id"]
            return run
        found = await conn.execute(select(_states.status).where(_states.id == self.run_id))
        raise (Fenced if found.scalar_one() in LIVE_STATUSES else RunEnded)(str(self.run_id))

    async def decide(self, step: Step, ask: str, branch: Callable[[Any], Branch | None]) -> Any:
        if step.done:
            return step.result
        async with self.runtime.database.transaction() as conn:
            run = await self.guard(conn)
            answer = plain(await questions.answer(ask, conn, self.runtime, run, step.args))
            await self._close(conn, step, answer)
            verdict = branch(answer)
            if verdict is not None:
                await self._decide(conn, verdict.kind, verdict.reason, verdict.detail)
        self.runtime.crash_at(f"after_step:{step.key}")
        return answer

    async def call(self, step: Step, function: Callable[[], Awaitable[Any]]) -> Any:
        if not step.done:
            try:
                result = {"value": plain(await function())}
            except Exception as error:
                result = {"error": f"{type(error).__name__}: {error}"}
            self.runtime.crash_at(f"after_call:{step.key}")
            async with self.runtime.database.transaction() as conn:
                await self.guard(conn)
                await self._close(conn, step, result)
            step.result = result
            self.runtime.crash_at(f"after_step:{step.key}")
        if "error" in step.result:
            raise StepFailed(step.result["error"])
        return step.result["value"]

    async def sleep(self, step: Step, until: Callable[[datetime], datetime]) -> None:
        if step.done:
            return
        now = self.runtime.clock.now()
        if step.status == "new":
            step.deadline = until(now)
            async with self.runtime.database.transaction() as conn:
                await self.guard(conn)
                await self._open(conn, step)
                await self._decide(conn, Kind.WAITING, Reason.SLEEPING, {"until": step.deadline.isoformat()})
            self.runtime.crash_at(f"after_arm:{step.key}")
        deadline = _deadline(step)
        if now < deadline:
            raise Suspend(deadline)
        async with self.runtime.database.transaction() as conn:
            await self.guard(conn)
            await self._close(conn, step, {}, past=deadline)
            await self._decide(conn, Kind.RESUMED, Reason.SLEEP_ENDED, {"step": step.key})
        self.runtime.crash_at(f"after_step:{step.key}")

    async def wait(
        self, step: Step, event: str, where: Condition | None, timeout: timedelta
    ) -> dict[str, Any]:
        if step.done:
            return dict(step.result)
        async with self.runtime.database.transaction() as conn:
            await lock_subjects(conn, [self.contact_id])
            run = await self.guard(conn)
            armed = await self._rearm(conn, run, step, timeout)
            if step.done:
                return dict(step.result)
            result = await self._last_look(conn, step, event, where)
            if result is not None:
                await self._end_wait(conn, step, result)
            elif armed:
                await self._arm_wait(conn, step, event, where)
        self.runtime.crash_at(f"after_arm:{step.key}")
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
            await lock_subjects(conn, [self.contact_id])
            run = await self.guard(conn)
            if await self._rearm(conn, run, step, window):
                await self._open(conn, step)
                detail = {"event": event, "until": _deadline(step).isoformat()}
                await self._decide(conn, Kind.WAITING, Reason.COLLECTING_EVENTS, detail)
            if self.runtime.clock.now() >= _deadline(step):
                found = [_event_json(row) for row in await self._arrived(conn, step, event, where)]
                await self._close(conn, step, found, past=_deadline(step))
                await self._decide(conn, Kind.RESUMED, Reason.WINDOW_ENDED, {"events": len(found)})
        self.runtime.crash_at(f"after_arm:{step.key}")
        if found is None:
            raise Suspend(_deadline(step))
        return found

    async def send(self, step: Step, outgoing: Outgoing) -> dict[str, Any]:
        if step.done:
            return dict(step.result)
        send_key = f"{self.run_id}:{step.key}"
        if step.status == "new":
            refused = await self._prepare_send(step, outgoing, send_key)
            self.runtime.crash_at(f"after_prepare:{step.key}")
            if refused is not None:
                return refused
        email_id = email_id_for(send_key)

        async def fence(conn: AsyncConnection) -> None:
            await self.guard(conn)

        async def hold(conn: AsyncConnection) -> None:
            held = select(_states.contact_id).where(_states.id == self.run_id).with_for_update()
            self.contact_id = (await conn.execute(held)).scalar_one()

        async def settle(conn: AsyncConnection, outcome: Outcome) -> None:
            if outcome.state != "unknown":
                await self._close(conn, step, _sent_json(outcome))

        outcome = await deliver(self.runtime, email_id, guard=fence, hold=hold, settle=settle)
        self.runtime.crash_at(f"after_step:{step.key}")
        if outcome.state == "later":
            raise Suspend(
                self.runtime.clock.now() + self.runtime.clock.product(outcome.retry_in or timedelta(0))
            )
        if outcome.state == "unknown":
            raise Blocked(
                Reason.OUTCOME_UNKNOWN,
                f"nobody knows whether {step.key} was sent: {outcome.error or 'no answer'}",
            )
        return _sent_json(outcome)

    async def trigger(self, step: Step, event: str, properties: Mapping[str, Any]) -> None:
        if step.done:
            return
        async with self.runtime.database.transaction() as conn:
            await lock_person(conn, self.contact_id)
            run = await self.guard(conn)
            contact = await _contact(conn, run["contact_id"])
            result = await ingest_in(
                conn,
                self.runtime,
                IngestInput(
                    name=event,
                    external_id=contact["external_id"],
                    email=contact["email"],
                    anonymous_id=contact["anonymous_id"],
                    properties=properties,
                    idempotency_key=f"step:{self.run_id}:{step.key}",
                    source="journey",
                ),
            )
            await self._close(conn, step, {"event_id": str(result.event_id)})
            detail = {"event": event, "event_id": str(result.event_id)}
            await self._decide(conn, Kind.BRANCHED, Reason.EVENT_TRIGGERED, detail)
        self.runtime.crash_at(f"after_step:{step.key}")

    async def _prepare_send(self, step: Step, outgoing: Outgoing, send_key: str) -> dict[str, Any] | None:
        """Freeze the message and open the step, in one transaction. The result where nothing is to be sent."""
        async with self.runtime.database.transaction() as conn:
            run = await self.guard(conn)
            request = SendRequest(
                send_key=send_key,
                template=outgoing.template,
                reason=Reason.JOURNEY_ASKED,
                props=outgoing.props,
                subject=outgoing.subject,
                category=outgoing.category or self._category(),
                journey_id=self.journey_id,
                state_id=self.run_id,
                step_key=step.key,
                event_id=run["trigger_event_id"],
            )
            try:
                prepared = await prepare(conn, self.runtime, await _contact(conn, self.contact_id), request)
            except (RenderError, TemplateNotFound) as error:
                raise Broken(Reason.RENDERING_FAILED, str(error)) from error
            if prepared.refusal is None:
                await self._open(conn, step)
                return None
            result = {
                "status": "suppressed",
                "email_id": str(prepared.email_id),
                "reason": prepared.refusal.value,
            }
            await self._close(conn, step, result)
            return result

    def _category(self) -> str | None:
        journey = self.runtime.registry.get(self.journey_id)
        return journey.category if journey else None

    async def _rearm(self, conn: AsyncConnection, run: RowMapping, step: Step, span: timedelta) -> bool:
        """Read an open step again under the lock, or give a new one its window. True where it is new."""
        if step.status == "new":
            step.deadline = self.runtime.clock.now() + span
            step.since_seq = run["cursor_seq"]
            return True
        row = (
            await conn.execute(
                select(journey_steps).where(_steps.state_id == self.run_id, _steps.key == step.key)
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
                events.contact_id == self.contact_id,
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
        properties = (await _contact(conn, self.contact_id))["properties"]
        return [row for row in rows if matches_properties(where, row["properties"], properties)]

    async def _arm_wait(self, conn: AsyncConnection, step: Step, event: str, where: Condition | None) -> None:
        await self._open(conn, step)
        values = {
            "state_id": self.run_id,
            "step_key": step.key,
            "contact_id": self.contact_id,
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
        detail = {"event": event, "until": _deadline(step).isoformat()}
        await self._decide(conn, Kind.WAITING, Reason.AWAITING_EVENT, detail)

    async def _end_wait(self, conn: AsyncConnection, step: Step, result: dict[str, Any]) -> None:
        await conn.execute(delete(journey_waits).where(journey_waits.c.state_id == self.run_id))
        if result["timed_out"]:
            await self._close(conn, step, result, past=_deadline(step))
            await self._decide(conn, Kind.RESUMED, Reason.WAIT_TIMED_OUT, {"step": step.key})
            return
        await self._close(conn, step, result, cursor=result["seq"])
        await self._decide(
            conn,
            Kind.RESUMED,
            Reason.EVENT_ARRIVED,
            {"step": step.key},
            event_id=UUID(result["event_id"]),
        )

    async def _open(self, conn: AsyncConnection, step: Step) -> None:
        now = self.runtime.clock.now()
        await conn.execute(pg_insert(journey_steps).values(self._step_row(step, "open", now)))
        await self._note(conn, step, now)
        step.status = "open"

    async def _close(
        self,
        conn: AsyncConnection,
        step: Step,
        result: Any,
        *,
        past: datetime | None = None,
        cursor: int | None = None,
    ) -> None:
        """Write a step's result, and let the next window begin where it ended.

        That is behind event `cursor` where an event ended it, else behind what had arrived by `past`.
        """
        now = self.runtime.clock.now()
        row = self._step_row(step, "done", now) | {"result": result, "closed_at": now}
        await conn.execute(
            pg_insert(journey_steps)
            .values(row)
            .on_conflict_do_update(
                index_elements=[_steps.state_id, _steps.key],
                set_={"status": "done", "result": row["result"], "closed_at": now},
                where=_steps.status == "open",
            )
        )
        arrived = (
            select(func.coalesce(func.max(user_events.c.seq), 0))
            .where(user_events.c.contact_id == self.contact_id, user_events.c.received_at <= (past or now))
            .scalar_subquery()
        )
        await self._note(conn, step, now, cursor if cursor is not None else arrived)
        step.status, step.result = "done", result

    async def _note(self, conn: AsyncConnection, step: Step, now: datetime, cursor: Any = 0) -> None:
        await conn.execute(
            update(journey_states)
            .where(_states.id == self.run_id)
            .values(
                current_node=step.label,
                attempt=0,
                cursor_seq=func.greatest(_states.cursor_seq, cursor),
                updated_at=now,
            )
        )

    def _step_row(self, step: Step, status: str, now: datetime) -> dict[str, Any]:
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

    async def _decide(
        self,
        conn: AsyncConnection,
        kind: Kind,
        reason: Reason,
        detail: Mapping[str, Any],
        event_id: UUID | None = None,
    ) -> None:
        await decide(
            conn,
            at=self.runtime.clock.now(),
            kind=kind,
            reason=reason,
            detail=detail,
            contact_id=self.contact_id,
            journey_id=self.journey_id,
            state_id=self.run_id,
            event_id=event_id,
        )


async def _contact(conn: AsyncConnection, contact_id: UUID) -> RowMapping:
    return (await conn.execute(select(contacts).where(contacts.c.id == contact_id))).mappings().one()


def _event_json(row: RowMapping) -> dict[str, Any]:
    return {
        "event_id": str(row["id"]),
        "properties": row["properties"],
        "occurred_at": row["occurred_at"].isoformat(),
    }


def _sent_json(outcome: Outcome) -> dict[str, Any]:
    if outcome.state == "sent":
        return {"status": "sent", "email_id": str(outcome.email_id)}
    refused = outcome.reason not in (None, Reason.PROVIDER_REFUSED, Reason.RETRIES_EXHAUSTED)
    return {
        "status": "suppressed" if refused else "failed",
        "email_id": str(outcome.email_id),
        "reason": outcome.reason.value if outcome.reason else None,
    }


def _deadline(step: Step) -> datetime:
    if step.deadline is None:
        raise RuntimeError(f"{step.key} was armed without a deadline")
    return step.deadline
