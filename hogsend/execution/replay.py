"""Replay: a journey's function followed over the journal of its run, from its first line."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.decisions.reasons import Reason
from hogsend.journeys.context import Context
from hogsend.journeys.definition import Journey
from hogsend.journeys.steps.interrupts import RunFailed
from hogsend.journeys.steps.journal import Journal, Step
from hogsend.tables.journeys import journey_steps

_steps = journey_steps.c
_OURS = str(Path(__file__).parents[1])


async def follow(journey: Journey, context: Context, journal: Journal) -> None:
    """Call the function; its recorded steps answer from the journal, the others from the context's driver.

    Returns where it came to its end. Raises the `Interrupt` that stopped it: `CodeChanged` where it asks for other
    steps than those that are recorded, `RunFailed` where the author's code raised.
    """
    try:
        await journey.run(context.user, context)
    except (Exception, SystemExit) as error:
        # `exit()` in a journey is the author's mistake like any other, and must not take the worker along.
        if context.interrupt is None:
            raise RunFailed(Reason.JOURNEY_RAISED, _where(error)) from error
    if context.interrupt is not None:
        raise context.interrupt
    context.check_awaited()
    journal.check_finished()


async def recorded(conn: AsyncConnection, run_ids: Sequence[UUID]) -> dict[UUID, list[Step]]:
    """The recorded steps of each of these runs, in any order. One statement."""
    found: dict[UUID, list[Step]] = {run_id: [] for run_id in run_ids}
    for row in await conn.execute(select(journey_steps).where(_steps.state_id.in_(run_ids))):
        step = Step(
            key=row.key,
            seq=row.seq,
            kind=row.kind,
            label=row.label,
            fingerprint=row.fingerprint,
            args=row.args,
            status=row.status,
            result=row.result,
            deadline=row.deadline,
            since_seq=row.since_seq,
        )
        found[row.state_id].append(step)
    return found


def _where(error: BaseException) -> str:
    """The error and the author's own line, which is what an operator needs to see."""
    frames = traceback.extract_tb(error.__traceback__)
    last = next((f for f in reversed(frames) if not f.filename.startswith(_OURS)), None)
    place = f" (in {last.name}, line {last.lineno})" if last else ""
    return f"{type(error).__name__}: {error}{place}"
