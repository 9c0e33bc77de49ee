"""Lists of API keys and of the audit log."""

from __future__ import annotations

from sqlalchemy import true

from hogsend.storage.collections import Collection, between, equals
from hogsend.tables.access import api_keys, audit_logs

_k = api_keys.c
_a = audit_logs.c

KEYS = Collection.of(
    "api_keys",
    "apikey",
    api_keys,
    leaving_out=(_k.key_hash,),
    sorts={"created": _k.created_at},
    filters={"revoked_too": lambda wanted: true() if wanted else _k.revoked_at.is_(None)},
)
AUDIT = Collection.of(
    "audit_logs",
    "audit",
    audit_logs,
    sorts={"created": _a.created_at},
    filters=equals(_a.actor, _a.actor_key_id, _a.action, _a.resource, _a.resource_id, _a.outcome)
    | between(_a.created_at),
)
