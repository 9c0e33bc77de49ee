"""Read rules, what they fired, and what they watch."""

from __future__ import annotations

from hogsend.storage.collections import Collection, Sort
from hogsend.tables.alerts import alert_rules, alerts

_r = alert_rules.c
_a = alerts.c

RULES = Collection(
    "alert_rules",
    "rule",
    columns=tuple(alert_rules.c),
    key=_r.id,
    sorts={"created_at": Sort(_r.created_at)},
    where=(_r.deleted_at.is_(None),),
)

ALERTS = Collection(
    "alerts",
    "alert",
    columns=tuple(alerts.c),
    key=_a.id,
    sorts={"triggered_at": Sort(_a.triggered_at)},
    filters={"rule_id": lambda rule_id: _a.rule_id == rule_id},
)
