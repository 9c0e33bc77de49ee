"""Drive alert rules by hand: evaluate, run what is due, and see what was recorded and told."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from hogsend.alerts.actions import create_rule
from hogsend.alerts.evaluation import evaluate_rules
from hogsend.clock import ManualClock
from hogsend.deadletters.actions import add_dead_letter
from hogsend.engine.jobs import due_jobs, run_job
from hogsend.runtime import Runtime
from hogsend.storage.metadata import new_id
from hogsend.tables.deadletters import DeadLetterSource
from tests.driving import rows
from tests.standins.http import Request
from worker.work import WORK

PAGE = Path(__file__).parents[2] / "docs" / "alerts.md"

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


async def a_rule(runtime: Runtime, url: str = "https://1.1.1.1/hook", **values: Any) -> Any:
    """A rule that fires where a dead letter was added in the last hour, and tells a webhook."""
    rule: dict[str, Any] = {
        "name": "Dead letters",
        "type": "dlq_growth",
        "threshold": 0,
        "channel": "webhook",
        "channel_config": {"url": url},
    }
    return await create_rule(runtime, {**rule, **values})


async def trouble(runtime: Runtime) -> None:
    """What makes that rule fire, for an hour."""
    async with runtime.database.transaction() as conn:
        await add_dead_letter(
            conn,
            runtime.clock,
            source=DeadLetterSource.WEBHOOK,
            source_id=str(new_id()),
            error="no",
            payload={},
        )


async def minutes(runtime: Runtime, clock: ManualClock, count: int = 1) -> None:
    """So many evaluations, a minute apart."""
    for _ in range(count):
        clock.advance(MINUTE)
        await evaluate_rules(runtime)


async def work(runtime: Runtime) -> int:
    """Run the jobs that are due, once each. Returns how many."""
    due = await due_jobs(runtime, 100)
    for job_id in due:
        await run_job(runtime, WORK, job_id, "test")
    return len(due)


async def history(runtime: Runtime) -> list[tuple[float, str]]:
    """Every alert, the oldest first: the value that it fired at, and why it is over, or `firing`."""
    found = await rows(runtime, "SELECT current_value, resolution FROM alerts ORDER BY triggered_at, id")
    return [(row.current_value, row.resolution or "firing") for row in found]


async def log_of(runtime: Runtime) -> list[str]:
    """What streams are told of alerts."""
    found = await rows(runtime, "SELECT type FROM activity WHERE kind = 'alert' ORDER BY seq")
    return [row.type for row in found]


async def deliveries(runtime: Runtime) -> list[tuple[str, str]]:
    """What was to be told, and how far it came."""
    found = await rows(
        runtime,
        "SELECT d.change, d.status FROM alert_deliveries d JOIN alerts a ON a.id = d.alert_id"
        " ORDER BY a.triggered_at, d.created_at, d.change",
    )
    return [(row.change, row.status) for row in found]


async def row_of(runtime: Runtime, rule_id: UUID) -> Any:
    [row] = await rows(runtime, "SELECT * FROM alert_rules WHERE id = :id", id=rule_id)
    return row


def recipe() -> Callable[..., bool]:
    """How a receiver checks a webhook by hand, as `docs/alerts.md` has it."""
    [block] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)
    found: Callable[..., bool] = names["is_from_hogsend"]
    return found


def is_signed(request: Request, secret: str) -> bool:
    """Whether a webhook is from us, checked as the docs tell receivers to."""
    return recipe()(secret, request.headers, request.body, now=int(request.headers["webhook-timestamp"]))
