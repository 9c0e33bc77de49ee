"""Alerts fire once, however many workers there are and whatever clocks and rules do, and are over when it is over."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from hogsend.alerts import evaluation, rule_types
from hogsend.alerts.actions import delete_rule, update_rule
from hogsend.alerts.evaluation import evaluate_rules
from hogsend.clock import ManualClock
from hogsend.engine.crons import run_cron
from hogsend.runtime import Runtime
from tests.alerts.evaluating import (
    HOUR,
    MINUTE,
    a_rule,
    history,
    log_of,
    minutes,
    row_of,
    trouble,
    work,
)
from tests.driving import rows
from tests.standins.receiver import ReceiverStandIn
from worker.work import SCHEDULE


async def test_five_workers_make_one_firing_and_one_resolution(
    runtime: Runtime, workers: list[Runtime], clock: ManualClock, receiver: ReceiverStandIn
) -> None:
    await a_rule(runtime, receiver.url)
    await trouble(runtime)
    for _ in range(3):
        await asyncio.gather(*(evaluate_rules(worker) for worker in workers))
        clock.advance(MINUTE)
    assert (await history(runtime), await log_of(runtime)) == ([(1, "firing")], ["fired"])
    clock.advance(HOUR)
    for clear in range(3):
        assert await log_of(runtime) == ["fired"], f"{clear} evaluations are not enough"
        await asyncio.gather(*(evaluate_rules(worker) for worker in workers))
        clock.advance(MINUTE)
    assert await history(runtime) == [(1, "cleared")]
    assert await log_of(runtime) == ["fired", "resolved"]
    while await asyncio.gather(*(work(worker) for worker in workers)) != [0] * 5:
        clock.advance(MINUTE)
    assert [body["event"] for body in receiver.bodies] == ["alert.fired", "alert.resolved"]


async def test_workers_whose_crons_come_due_at_once_evaluate_once(
    runtime: Runtime, workers: list[Runtime], clock: ManualClock
) -> None:
    await a_rule(runtime)
    await trouble(runtime)
    [cron] = [cron for cron in SCHEDULE if cron.run is evaluate_rules]
    ran = await asyncio.gather(*(run_cron(worker, cron) for worker in workers))
    assert sum(ran) == 1
    assert await history(runtime) == [(1, "firing")]


async def test_the_clock_jumps_ahead_and_back(runtime: Runtime, clock: ManualClock) -> None:
    rule = await a_rule(runtime)
    start = clock.now()
    await trouble(runtime)
    await evaluate_rules(runtime)
    clock.set(start + timedelta(days=1))
    await evaluate_rules(runtime)
    assert await history(runtime) == [(1, "firing")], "a jump is one evaluation, however long"
    clock.set(start - timedelta(days=1))
    await minutes(runtime, clock, 3)
    assert await history(runtime) == [(1, "firing")], "what was added a day from now counts"
    async with runtime.database.transaction() as conn:
        await conn.exec_driver_sql("DELETE FROM dead_letters")
    await minutes(runtime, clock, 3)
    assert await history(runtime) == [(1, "cleared")]
    [times] = await rows(runtime, "SELECT triggered_at, resolved_at FROM alerts")
    assert times.resolved_at >= times.triggered_at, "nothing ends before it began"
    assert (await row_of(runtime, rule["id"])).cooldown_from > clock.wall() + HOUR
    await trouble(runtime)
    await minutes(runtime, clock)
    assert len(await history(runtime)) == 2, "a cooldown that lies a day ahead holds nothing back"


@pytest.mark.parametrize(
    ("changes", "ends"),
    [
        ({"type": "engine_lag", "threshold": 10_000_000}, "rule_changed"),
        ({"enabled": False}, "rule_disabled"),
        ({"name": "Another name", "cooldown_minutes": 5}, "firing"),
        ({"threshold": 7}, "firing"),
        (None, "rule_deleted"),
    ],
)
async def test_a_rule_is_changed_while_it_fires(
    runtime: Runtime, clock: ManualClock, receiver: ReceiverStandIn, changes: Any, ends: str
) -> None:
    rule = await a_rule(runtime, receiver.url)
    await trouble(runtime)
    await minutes(runtime, clock)
    await work(runtime)
    if changes is None:
        await delete_rule(runtime, rule["id"])
    else:
        await update_rule(runtime, rule["id"], changes)
    assert await history(runtime) == [(1, ends)]
    await minutes(runtime, clock)
    await work(runtime)
    told = [(body["event"], body["resolution"]) for body in receiver.bodies]
    over = [] if ends == "firing" else [("alert.resolved", ends)]
    assert told == [("alert.fired", None), *over], "whoever was told is told that it is over"
    await minutes(runtime, clock, 2)
    judged_anew = isinstance(changes, dict) and changes.get("threshold") == 7
    assert await history(runtime) == [(1, "cleared" if judged_anew else ends)]


async def test_a_rule_that_is_changed_between_measure_and_lock_waits_for_the_next_minute(
    runtime: Runtime, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = await a_rule(runtime)
    await trouble(runtime)
    measured = evaluation._measured

    async def then_change(*given: Any) -> Any:
        values = await measured(*given)
        changes = {"type": "journey_failure_spike", "threshold": 0}
        await update_rule(runtime, rule["id"], changes)
        return values

    monkeypatch.setattr(evaluation, "_measured", then_change)
    await evaluate_rules(runtime)
    assert await history(runtime) == [], "the value was another measure's"


async def test_a_worker_that_stood_still_acts_on_nothing_old(
    runtime: Runtime, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await a_rule(runtime)
    await trouble(runtime)
    measured = evaluation._measured

    async def then_sleep(*given: Any) -> Any:
        values = await measured(*given)
        clock.advance(2 * HOUR)
        return values

    monkeypatch.setattr(evaluation, "_measured", then_sleep)
    await evaluate_rules(runtime)
    assert await history(runtime) == []


@pytest.mark.parametrize("type", ["bounce_rate_exceeded", "high_complaint_rate", "delivery_issue"])
async def test_no_traffic_is_no_rate(runtime: Runtime, clock: ManualClock, type: str) -> None:
    threshold = 1 if type == "delivery_issue" else 0
    await a_rule(runtime, type=type, threshold=threshold)
    await minutes(runtime, clock)
    assert await history(runtime) == []


async def test_evaluation_is_away_for_ten_minutes_and_catches_up(
    runtime: Runtime, clock: ManualClock, receiver: ReceiverStandIn
) -> None:
    await a_rule(runtime, receiver.url)
    await minutes(runtime, clock)
    for _ in range(10):
        clock.advance(MINUTE)
        await trouble(runtime)
    await evaluate_rules(runtime)
    assert await history(runtime) == [(10, "firing")], "one firing, with all that happened meanwhile"
    clock.advance(2 * HOUR)
    await minutes(runtime, clock, 2)
    assert await history(runtime) == [(10, "firing")], "hours without evaluation clear nothing"
    await minutes(runtime, clock)
    assert await history(runtime) == [(10, "cleared")]


async def test_it_clears_only_after_three_in_a_row_and_is_quiet_for_its_cooldown(
    runtime: Runtime, clock: ManualClock
) -> None:
    await a_rule(runtime, cooldown_minutes=180)
    await trouble(runtime)
    await minutes(runtime, clock)
    clock.advance(HOUR)
    await minutes(runtime, clock, 2)
    await trouble(runtime)
    await minutes(runtime, clock)
    clock.advance(HOUR)
    await minutes(runtime, clock, 2)
    assert await history(runtime) == [(1, "firing")], "a value that comes and goes is one alert"
    await minutes(runtime, clock)
    assert await history(runtime) == [(1, "cleared")]
    await trouble(runtime)
    await minutes(runtime, clock, 10)
    assert await history(runtime) == [(1, "cleared")]
    clock.advance(timedelta(minutes=45))
    await minutes(runtime, clock)
    assert await history(runtime) == [(1, "cleared"), (1, "firing")]


async def test_one_measure_that_fails_keeps_no_other_rule_waiting(
    runtime: Runtime, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await a_rule(runtime, type="engine_lag", threshold=10)
    await a_rule(runtime)
    await trouble(runtime)
    taken = rule_types.measure_all

    async def one_fails(conn: Any, runtime: Runtime, measures: Any) -> Any:
        if "overdue" in {measure.source.__name__ for measure in measures}:
            await conn.exec_driver_sql("SELECT 1 / 0")
        return await taken(conn, runtime, measures)

    monkeypatch.setattr(rule_types, "measure_all", one_fails)
    with pytest.raises(Exception, match="division by zero"):
        await evaluate_rules(runtime)
    assert await history(runtime) == [(1, "firing")]
