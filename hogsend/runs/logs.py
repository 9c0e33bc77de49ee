"""A run's log, derived from its journal: nothing is written twice, so nothing can disagree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import RowMapping


@dataclass(frozen=True)
class Log:
    """One line. Nodes are labels of steps; `at` is when the step began."""

    id: UUID
    from_node: str | None
    to_node: str | None
    action: str
    detail: Mapping[str, Any] | None
    at: datetime


@dataclass(frozen=True)
class Ending:
    """How a run ended or got stuck: `status` as it is stored, `reason` of the ledger, `error` for the author."""

    status: str
    reason: str | None
    error: str | None
    at: datetime


def logs_of(
    run_id: UUID, entered_at: datetime, steps: Iterable[RowMapping], ending: Ending | None
) -> list[Log]:
    """The log of one run, oldest first: it entered, took its steps, and ended or got stuck."""
    logs = [Log(uuid5(run_id, "entered"), None, None, "entered", None, entered_at)]
    node: str | None = None
    for step in sorted(steps, key=lambda step: step["seq"]):
        logs.append(Log(step["id"], node, step["label"], step["kind"], _detail(step), step["opened_at"]))
        node = step["label"]
    if ending is not None:
        detail = {"reason": ending.reason} | ({"error": ending.error} if ending.error else {})
        logs.append(Log(uuid5(run_id, "ended"), node, None, ending.status, detail, ending.at))
    return logs


def _detail(step: RowMapping) -> dict[str, Any]:
    detail: dict[str, Any] = {"status": step["status"], "args": step["args"]}
    if step["status"] == "done":
        detail["result"] = step["result"]
        detail["closedAt"] = step["closed_at"].isoformat()
    if step["deadline"] is not None:
        detail["deadline"] = step["deadline"].isoformat()
    return detail
