"""Lists of alert rules, of the alerts that they fired and how they were told, and of broken invariants."""

from __future__ import annotations

from hogsend.storage.collections import Collection, equals
from hogsend.tables.alerts import alert_deliveries, alert_rules, alerts, invariant_findings

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
DELIVERIES = Collection.of(
    "alert_deliveries",
    "alertdelivery",
    alert_deliveries,
    sorts=alert_deliveries.c.created_at,
)
FINDINGS = Collection.of(
    "invariant_findings",
    "finding",
    invariant_findings,
    sorts=invariant_findings.c.found_at,
)
