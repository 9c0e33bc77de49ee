"""Evaluation of alert rules, every minute: firing → resolved, with a cooldown and hysteresis, under the rule's lock.

However many workers evaluate at once, a rule fires once: whoever has its row decides by what the row says then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from enum import Enum
from uuid import UUID

import structlog
from sqlalchemy import RowMapping, Select, and_, exists, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.alerts.history import fire, resolve, tell_held
from hogsend.alerts.rule_types import current_values, of_type
from hogsend.runtime import Runtime
from hogsend.storage.database import Record
from hogsend.tables.alerts import alert_rules, alerts

log = structlog.get_logger(__name__)

CLEAR_EVALUATIONS = 3
"""So many in a row on the good side of the threshold resolve an alert.

A count and not a margin: below a threshold of 0 there is none, and of a value that hovers at its threshold both say
the same, that it is not over yet.
"""
APART = timedelta(seconds=30)
"""Real time. Evaluations closer together count as one; so old, what was measured is no longer acted on."""

_rules = alert_rules.c


class Verdict(Enum):
    """What one evaluation does to a rule."""

    NOTHING = "nothing"
    FIRE = "fire"
    CLEAR = "clear"
    RESOLVE = "resolve"


def judge(rule: Record, value: float | None, wall: datetime) -> Verdict:
    """What this value does to the rule as it stands.

    Nothing to measure fires nothing. Of an alert that fired it is an end: what it fired on has left the window.
    """
    past = value is not None and of_type(rule["type"]).is_past(value, rule["threshold"])
    if rule["firing_alert_id"] is None:
        return Verdict.FIRE if past and not _cools_down(rule, wall) else Verdict.NOTHING
    if past:
        return Verdict.NOTHING
    return Verdict.RESOLVE if rule["clear_evaluations"] + 1 >= CLEAR_EVALUATIONS else Verdict.CLEAR


def _cools_down(rule: Record, wall: datetime) -> bool:
    """Whether it fired too recently, either way: a clock that was set back makes no cooldown of days."""
    if rule["cooldown_from"] is None:
        return False
    return bool(abs(wall - rule["cooldown_from"]) < timedelta(minutes=rule["cooldown_minutes"]))


async def evaluate_rules(runtime: Runtime) -> None:
    """Evaluate every rule once; a scheduled task. One that fails keeps no other waiting.

    What happened while nobody evaluated is in the windows that are measured: catching up is one evaluation.
    """
    began = runtime.clock.wall()
    async with runtime.database.read() as conn:
        rules = (await conn.execute(_to_evaluate())).all()
    failed: list[Exception] = []
    values = await _measured(runtime, {rule.type for rule in rules if rule.live}, failed)
    for rule in rules:
        try:
            async with runtime.database.transaction() as conn:
                await _evaluate(conn, runtime, rule.id, values, began)
        except Exception as error:
            log.exception("alert_rule_not_evaluated", rule_id=str(rule.id))
            failed.append(error)
    if failed:
        raise failed[0]


def _to_evaluate() -> Select[UUID, str, bool]:
    live = and_(_rules.deleted_at.is_(None), _rules.enabled)
    held = exists().where(alerts.c.rule_id == _rules.id, alerts.c.held.is_not(None))
    return select(_rules.id, _rules.type, live.label("live")).where(or_(live, held)).order_by(_rules.id)


async def _measured(
    runtime: Runtime, words: Collection[str], failed: list[Exception]
) -> Mapping[str, float | None]:
    """The values of these types, each source on a connection of its own: one that fails costs its own types only."""
    by_source = defaultdict(list)
    for word in sorted(words):
        by_source[of_type(word).measure.source].append(word)
    values: dict[str, float | None] = {}
    for of_source in by_source.values():
        try:
            async with runtime.database.read() as conn:
                values |= await current_values(conn, runtime, of_source)
        except Exception as error:
            log.exception("alert_rules_not_measured", types=of_source)
            failed.append(error)
    return values


async def _evaluate(
    conn: AsyncConnection,
    runtime: Runtime,
    rule_id: UUID,
    values: Mapping[str, float | None],
    began: datetime,
) -> None:
    wall = runtime.clock.wall()
    locked = await conn.execute(select(alert_rules).where(_rules.id == rule_id).with_for_update())
    rule = locked.mappings().one_or_none()
    if rule is None:
        return
    await tell_held(conn, runtime, rule)
    # A rule that was changed meanwhile to what nobody measured waits for the next minute.
    if rule["deleted_at"] is not None or not rule["enabled"] or rule["type"] not in values:
        return
    if wall - began > APART or not _counts(rule, wall):
        return
    await _act(conn, runtime, rule, values[rule["type"]], wall)


def _counts(rule: RowMapping, wall: datetime) -> bool:
    """Whether this is another evaluation, and not the same one by another worker. A clock may have been set back."""
    return rule["evaluated_at"] is None or abs(wall - rule["evaluated_at"]) >= APART


async def _act(
    conn: AsyncConnection, runtime: Runtime, rule: RowMapping, value: float | None, wall: datetime
) -> None:
    verdict = judge(rule, value, wall)
    clear = rule["clear_evaluations"] + 1 if verdict is Verdict.CLEAR else 0
    await conn.execute(
        update(alert_rules).where(_rules.id == rule["id"]).values(evaluated_at=wall, clear_evaluations=clear)
    )
    if verdict is Verdict.FIRE and value is not None:
        alert_id = await fire(conn, runtime, rule, value)
        log.warning("alert_fired", rule_id=str(rule["id"]), alert_id=str(alert_id), type=rule["type"])
    elif verdict is Verdict.RESOLVE:
        await resolve(conn, runtime, rule, "cleared", value)
        log.info("alert_resolved", rule_id=str(rule["id"]), type=rule["type"])
    runtime.fault_point("before_alert_commit")
