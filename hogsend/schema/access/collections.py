"""Read keys and the audit log."""

from __future__ import annotations

from sqlalchemy import true

from hogsend.storage.collections import Collection, Sort
from hogsend.tables.access import api_keys, audit_logs

_k = api_keys.c
_a = audit_logs.c

KEYS = Collection(
    "api_keys",
    "apikey",
    columns=tuple(column for column in api_keys.c if column is not _k.key_hash),
    key=_k.id,
    sorts={"created": Sort(_k.created_at)},
    filters={"revoked_too": lambda wanted: true() if wanted else _k.revoked_at.is_(None)},
)

AUDIT = Collection(
    "audit_logs",
    "audit",
    columns=tuple(audit_logs.c),
    key=_a.id,
    sorts={"created": Sort(_a.created_at)},
    filters={
        "actor": lambda actor: _a.actor == actor,
        "actor_key_id": lambda key_id: _a.actor_key_id == key_id,
        "action": lambda action: _a.action == action,
        "resource": lambda resource: _a.resource == resource,
        "resource_id": lambda resource_id: _a.resource_id == resource_id,
        "outcome": lambda outcome: _a.outcome == outcome,
        "from_": lambda instant: _a.created_at >= instant,
        "to": lambda instant: _a.created_at <= instant,
    },
)
