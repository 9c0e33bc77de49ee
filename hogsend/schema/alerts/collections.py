"""Lists of alert rules, and of the alerts that they fired."""

from __future__ import annotations

from hogsend.storage.collections import Collection, equals
from hogsend.tables.alerts import alert_rules, alerts

RULES = Collection.of(
    "alert_rules",
    "rule",
    alert_rules,
    sorts=alert_rules.c.created_at,
    where=(alert_rules.c.deleted_at.is_(None),),
)
ALERTS = Collection.of(
    "alerts",
    "alert",
    alerts,
    sorts=alerts.c.triggered_at,
    filters=equals(alerts.c.rule_id),
)
