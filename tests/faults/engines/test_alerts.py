"""Alerts on each engine: the worker's cron evaluates, its jobs tell."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from hogsend.alerts.actions import delete_rule
from hogsend.engine.hatchet import limits
from tests.alerts.evaluating import a_rule, trouble
from tests.driving import rows
from tests.engine.plant import Plant
from tests.standins.receiver import ReceiverStandIn

pytestmark = pytest.mark.asyncio(loop_scope="package")

HERE = {"HOGSEND_ALERT_PRIVATE_TARGETS": "true", "HOGSEND_ALLOW_HTTP_TARGETS": "true"}


async def test_an_alert_fires_once_is_told_and_is_over(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = {"alert_private_targets": True, "allow_http_targets": True}
    monkeypatch.setattr(plant.runtime, "settings", plant.runtime.settings.model_copy(update=allowed))
    plant.worker.kill()
    async with ReceiverStandIn() as receiver:
        rule = await a_rule(plant.runtime, receiver.url)
        await trouble(plant.runtime)
        async with plant.runtime.database.transaction() as conn:
            await conn.execute(text("UPDATE crons SET last_run_at = NULL WHERE name = 'alerts'"))
        await plant.staffed(**HERE)
        if plant.standin is not None:
            # What Hatchet does every minute.
            plant.standin.run(f"{limits.CRON}alerts", {})
        fired = "SELECT 1 FROM alerts WHERE delivered AND rule_id = :rule"
        await plant.until_row(fired, rule=rule["id"], within=90)
        await delete_rule(plant.runtime, rule["id"])
        over = "SELECT 1 FROM alert_deliveries WHERE change = 'resolved' AND status = 'delivered'"
        await plant.until_row(over)
        assert [body["event"] for body in receiver.bodies] == ["alert.fired", "alert.resolved"]
    assert len(await rows(plant.runtime, "SELECT 1 FROM alerts WHERE rule_id = :rule", rule=rule["id"])) == 1
    plant.worker.kill()
    async with plant.runtime.database.transaction() as conn:
        await conn.execute(text("DELETE FROM dead_letters WHERE source = 'webhook'"))
