"""`ctx.send` in the database: one frozen message for each step, and what became of it in the journal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.decisions.reasons import Reason
from hogsend.emails.sending.prepare import PreparedSend, prepare, prepared_for
from hogsend.emails.sending.protocol import SendOutcome, SendOwner, deliver
from hogsend.emails.sending.request import SendRequest
from hogsend.emails.templates.jinja import RenderError
from hogsend.emails.templates.render import TemplateNotFound
from hogsend.execution.claimed_run import ClaimedRun
from hogsend.journeys.steps.interrupts import Blocked, RunFailed, Suspend
from hogsend.journeys.steps.journal import Step
from hogsend.journeys.steps.step_driver import SendArgs


@dataclass(frozen=True)
class _OwnedByStep(SendOwner):
    """A step owns its send: nothing goes out once the run is fenced, and the outcome is the step's result."""

    run: ClaimedRun
    step: Step

    async def check(self, conn: AsyncConnection) -> None:
        await self.run.lock_and_check(conn)

    async def lock(self, conn: AsyncConnection) -> None:
        await self.run.lock(conn)

    async def on_outcome(self, conn: AsyncConnection, outcome: SendOutcome) -> None:
        if outcome.state != "unknown":
            await self.run.close(conn, self.step, _result(outcome))


async def send(run: ClaimedRun, step: Step, args: SendArgs) -> dict[str, Any]:
    """Prepare the message where the step is new, then bring it to the provider.

    Raises `Suspend` where that must be tried later, `Blocked` where nobody knows whether it was sent, `RunFailed`
    where the template cannot be rendered.
    """
    runtime = run.runtime
    email_id = None if step.status == "new" else await _prepared(run, step)
    if email_id is None:
        prepared = await _prepare(run, step, args)
        runtime.fault_point(f"after_prepare:{step.key}")
        if prepared.refusal is not None:
            return _refused(prepared.email_id, prepared.refusal)
        email_id = prepared.email_id
    outcome = await deliver(runtime, email_id, _OwnedByStep(run, step))
    runtime.fault_point(f"after_step:{step.key}")
    if outcome.state == "later":
        raise Suspend(runtime.clock.now() + runtime.clock.product(outcome.retry_in or timedelta(0)))
    if outcome.state == "unknown":
        raise Blocked(
            Reason.OUTCOME_UNKNOWN,
            f"nobody knows whether {step.key} was sent: {outcome.error or 'no answer'}",
        )
    return _result(outcome)


async def email_of(conn: AsyncConnection, run_id: UUID, step_key: str) -> UUID | None:
    """The id of the one email that this step of this run sends; None where it is not prepared."""
    return await prepared_for(conn, _send_key(run_id, step_key))


def _send_key(run_id: UUID, step_key: str) -> str:
    return f"{run_id}:{step_key}"


async def _prepared(run: ClaimedRun, step: Step) -> UUID | None:
    """The frozen message's id. There is none where it could not be rendered, and an operator let the run go on."""
    async with run.runtime.database.read() as conn:
        return await email_of(conn, run.run_id, step.key)


async def _prepare(run: ClaimedRun, step: Step, args: SendArgs) -> PreparedSend:
    """Freeze the message and open the step, in one transaction; the step is closed where nothing is to be sent."""
    async with run.runtime.database.transaction() as conn:
        row = await run.lock_and_check(conn)
        if step.status == "new":
            await run.open(conn, step)
        try:
            prepared = await prepare(
                conn, run.runtime, await run.contact(conn), _request(run, row, step, args)
            )
        except (RenderError, TemplateNotFound) as error:
            # The step stays open, so that an operator sees where the run is stuck, and can skip it.
            broken = RunFailed(Reason.RENDERING_FAILED, str(error))
            broken.__cause__ = error
        else:
            if prepared.refusal is not None:
                await run.close(conn, step, _refused(prepared.email_id, prepared.refusal))
            return prepared
    raise broken


def _request(run: ClaimedRun, row: RowMapping, step: Step, args: SendArgs) -> SendRequest:
    return SendRequest(
        send_key=_send_key(run.run_id, step.key),
        template=args.template,
        reason=Reason.JOURNEY_ASKED,
        props=args.props,
        subject=args.subject,
        category=args.category or _category(run),
        journey_id=run.journey_id,
        state_id=run.run_id,
        step_key=step.key,
        event_id=row["trigger_event_id"],
    )


def _category(run: ClaimedRun) -> str | None:
    journey = run.runtime.registry.get(run.journey_id)
    return journey.category if journey else None


def _refused(email_id: UUID, reason: Reason) -> dict[str, Any]:
    return {"status": "suppressed", "email_id": str(email_id), "reason": reason.value}


def _result(outcome: SendOutcome) -> dict[str, Any]:
    if outcome.state == "sent":
        return {"status": "sent", "email_id": str(outcome.email_id)}
    refused = outcome.reason not in (None, Reason.PROVIDER_REFUSED, Reason.RETRIES_EXHAUSTED)
    return {
        "status": "suppressed" if refused else "failed",
        "email_id": str(outcome.email_id),
        "reason": outcome.reason.value if outcome.reason else None,
    }
