"""`ctx.send` in the database: one frozen message for each step, and what became of it in the journal."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.decisions.reasons import Reason
from hogsend.emails.render import TemplateNotFound
from hogsend.emails.sending import Outcome, SendRequest, deliver, email_id_for, prepare
from hogsend.emails.templating import RenderError
from hogsend.journeys.held import HeldRun
from hogsend.journeys.interrupts import Blocked, Broken, Suspend
from hogsend.journeys.journal import Step
from hogsend.journeys.port import Outgoing


async def send(run: HeldRun, step: Step, outgoing: Outgoing) -> dict[str, Any]:
    """Prepare the message where the step is new, then bring it to the provider.

    Raises `Suspend` where that must be tried later, `Blocked` where nobody knows whether it was sent, `Broken`
    where the template cannot be rendered.
    """
    runtime = run.runtime
    send_key = f"{run.run_id}:{step.key}"
    if step.status == "new":
        refused = await _prepare(run, step, outgoing, send_key)
        runtime.crash_at(f"after_prepare:{step.key}")
        if refused is not None:
            return refused

    async def fence(conn: AsyncConnection) -> None:
        await run.guard(conn)

    async def settle(conn: AsyncConnection, outcome: Outcome) -> None:
        if outcome.state != "unknown":
            await run.close(conn, step, _result(outcome))

    outcome = await deliver(runtime, email_id_for(send_key), guard=fence, hold=run.hold, settle=settle)
    runtime.crash_at(f"after_step:{step.key}")
    if outcome.state == "later":
        raise Suspend(runtime.clock.now() + runtime.clock.product(outcome.retry_in or timedelta(0)))
    if outcome.state == "unknown":
        raise Blocked(
            Reason.OUTCOME_UNKNOWN,
            f"nobody knows whether {step.key} was sent: {outcome.error or 'no answer'}",
        )
    return _result(outcome)


async def _prepare(run: HeldRun, step: Step, outgoing: Outgoing, send_key: str) -> dict[str, Any] | None:
    """Freeze the message and open the step, in one transaction. The result where nothing is to be sent."""
    async with run.runtime.database.transaction() as conn:
        row = await run.guard(conn)
        request = SendRequest(
            send_key=send_key,
            template=outgoing.template,
            reason=Reason.JOURNEY_ASKED,
            props=outgoing.props,
            subject=outgoing.subject,
            category=outgoing.category or _category(run),
            journey_id=run.journey_id,
            state_id=run.run_id,
            step_key=step.key,
            event_id=row["trigger_event_id"],
        )
        try:
            prepared = await prepare(conn, run.runtime, await run.contact(conn), request)
        except (RenderError, TemplateNotFound) as error:
            raise Broken(Reason.RENDERING_FAILED, str(error)) from error
        if prepared.refusal is None:
            await run.open(conn, step)
            return None
        result = {
            "status": "suppressed",
            "email_id": str(prepared.email_id),
            "reason": prepared.refusal.value,
        }
        await run.close(conn, step, result)
        return result


def _category(run: HeldRun) -> str | None:
    journey = run.runtime.registry.get(run.journey_id)
    return journey.category if journey else None


def _result(outcome: Outcome) -> dict[str, Any]:
    if outcome.state == "sent":
        return {"status": "sent", "email_id": str(outcome.email_id)}
    refused = outcome.reason not in (None, Reason.PROVIDER_REFUSED, Reason.RETRIES_EXHAUSTED)
    return {
        "status": "suppressed" if refused else "failed",
        "email_id": str(outcome.email_id),
        "reason": outcome.reason.value if outcome.reason else None,
    }
