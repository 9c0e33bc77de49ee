"""What the contract's things look like, as JSON Schema: the components of the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping

from hogsend.access.audit import Action, Resource
from hogsend.access.caller import Scope
from hogsend.alerts.rule_types import RULE_WORDS
from hogsend.rest.answers import Schema, obj, thing
from hogsend.tables.emails import FACTS, STATUSES

TEXT: Schema = {"type": "string"}
ID: Schema = {"type": "string", "format": "uuid"}
AT: Schema = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
    "examples": ["2026-01-15T10:30:00.000Z"],
}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
RATE: Schema = {"type": "number", "minimum": 0}
YES: Schema = {"type": "boolean"}
ANYTHING: Schema = {"type": "object"}


def words(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def maybe(schema: Schema) -> Schema:
    """It may be null."""
    return {"anyOf": [schema, {"type": "null"}]}


def several(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def with_optional(required: Mapping[str, Schema], optional: Mapping[str, Schema]) -> Schema:
    """An object some of whose properties may be left out."""
    whole = dict(obj(required))
    return whole | {"properties": {**whole["properties"], **optional}}


RUN_STATUS = words("active", "waiting", "completed", "failed", "exited")
_TRIGGER = with_optional({"event": TEXT}, {"where": ANYTHING})
_SPAN = with_optional({}, {"hours": COUNT, "minutes": COUNT, "seconds": COUNT})
_SCOPES = several(words(*Scope))

_JOURNEY: Mapping[str, Schema] = {
    "id": TEXT,
    "name": TEXT,
    "description": maybe(TEXT),
    "enabled": YES,
    "trigger": _TRIGGER,
    "entryLimit": TEXT,
    "counts": obj(dict.fromkeys(("active", "waiting", "completed", "failed", "exited"), COUNT)),
}


def _entry(kind: str, data: Mapping[str, Schema]) -> Schema:
    return obj({"type": {"const": kind}, "timestamp": AT, "data": obj(data)})


SCHEMAS: Mapping[str, Schema] = {
    "Error": with_optional(
        {"error": TEXT}, {"details": several(obj({"path": TEXT, "message": TEXT})), "requestId": TEXT}
    ),
    "Contact": obj(
        {
            "id": ID,
            "externalId": maybe(TEXT),
            "email": maybe(TEXT),
            "properties": ANYTHING,
            "firstSeenAt": AT,
            "lastSeenAt": AT,
            "createdAt": AT,
            "updatedAt": AT,
        }
    ),
    "Preferences": obj(
        {
            "id": ID,
            "userId": TEXT,
            "email": TEXT,
            "unsubscribedAll": YES,
            "suppressed": YES,
            "bounceCount": COUNT,
            "categories": {"type": "object", "additionalProperties": YES},
            "suppressedAt": maybe(AT),
            "lastBounceAt": maybe(AT),
        }
    ),
    "TimelineEntry": {
        "oneOf": [
            _entry("event", {"id": ID, "event": TEXT, "properties": ANYTHING}),
            _entry(
                "journey",
                {
                    "id": ID,
                    "journeyId": TEXT,
                    "status": RUN_STATUS,
                    "currentNodeId": maybe(TEXT),
                    "completedAt": maybe(AT),
                    "exitedAt": maybe(AT),
                },
            ),
            _entry(
                "email",
                {
                    "id": ID,
                    "templateKey": maybe(TEXT),
                    "subject": TEXT,
                    "status": words(*STATUSES),
                    "toEmail": TEXT,
                    "sentAt": maybe(AT),
                    "deliveredAt": maybe(AT),
                    "openedAt": maybe(AT),
                },
            ),
        ]
    },
    "ImportJob": obj(
        {
            "id": ID,
            "status": words("pending", "processing", "completed", "failed"),
            "totalRows": COUNT,
            "processedRows": COUNT,
            "failedRows": COUNT,
            "errors": several(obj({"row": {"type": "integer", "minimum": 1}, "error": TEXT})),
        }
    ),
    "Journey": obj(_JOURNEY),
    "JourneyDetail": obj(
        {
            **_JOURNEY,
            "entryPeriod": maybe(_SPAN),
            "exitOn": several(_TRIGGER),
            "suppress": _SPAN,
            "recentStates": {**several(thing("State")), "maxItems": 10},
        }
    ),
    "State": obj(
        {
            "id": ID,
            "userId": TEXT,
            "userEmail": maybe(TEXT),
            "journeyId": TEXT,
            "currentNodeId": maybe(TEXT),
            "status": RUN_STATUS,
            "hatchetRunId": maybe(TEXT),
            "context": ANYTHING,
            "errorMessage": maybe(TEXT),
            "entryCount": COUNT,
            "completedAt": maybe(AT),
            "exitedAt": maybe(AT),
            "createdAt": AT,
            "updatedAt": AT,
        }
    ),
    "JourneySwitch": obj({"id": TEXT, "name": TEXT, "enabled": {"type": "boolean"}, "updatedAt": AT}),
    "CancelledState": obj({"id": ID, "status": {"const": "exited"}, "exitedAt": AT}),
    "EnrollResult": {
        **obj({"userId": TEXT, "enrolled": {"type": "boolean"}, "reason": TEXT}),
        "required": ["userId", "enrolled"],
    },
    "ReplayError": obj({"eventId": TEXT, "error": TEXT}),
    "Log": obj(
        {
            "id": ID,
            "fromNodeId": maybe(TEXT),
            "toNodeId": maybe(TEXT),
            "action": TEXT,
            "detail": maybe(ANYTHING),
            "createdAt": AT,
        }
    ),
    "Email": obj(
        {
            "id": ID,
            "journeyStateId": maybe(ID),
            "templateKey": maybe(TEXT),
            "messageId": maybe(TEXT),
            "resendId": maybe(TEXT),
            "fromEmail": TEXT,
            "toEmail": TEXT,
            "subject": TEXT,
            "category": maybe(TEXT),
            "status": words(*STATUSES),
            "userId": maybe(TEXT),
            "journeyId": maybe(TEXT),
            "sentAt": maybe(AT),
            "deliveredAt": maybe(AT),
            "openedAt": maybe(AT),
            "clickedAt": maybe(AT),
            "bouncedAt": maybe(AT),
            "complainedAt": maybe(AT),
            "createdAt": AT,
            "updatedAt": AT,
        }
    ),
    "EmailEvent": obj(
        {
            "type": words(*FACTS),
            "timestamp": AT,
            "url": maybe(TEXT),
            "ipAddress": maybe(TEXT),
            "userAgent": maybe(TEXT),
        }
    ),
    "TrackedLink": obj(
        {
            "id": ID,
            "originalUrl": TEXT,
            "clickCount": COUNT,
            "clicks": several(
                obj({"id": ID, "clickedAt": AT, "ipAddress": maybe(TEXT), "userAgent": maybe(TEXT)})
            ),
        }
    ),
    "JourneyContext": obj(
        {"journeyId": TEXT, "userId": TEXT, "status": RUN_STATUS, "currentNodeId": maybe(TEXT)}
    ),
    "Event": obj({"id": ID, "userId": maybe(TEXT), "event": TEXT, "properties": ANYTHING, "occurredAt": AT}),
    "ApiKey": obj(
        {
            "id": ID,
            "name": TEXT,
            "keyPrefix": TEXT,
            "scopes": _SCOPES,
            "expiresAt": maybe(AT),
            "revokedAt": maybe(AT),
            "lastUsedAt": maybe(AT),
            "createdAt": AT,
        }
    ),
    "NewApiKey": obj(
        {
            "id": ID,
            "name": TEXT,
            "key": {**TEXT, "description": "Shown here and never again"},
            "keyPrefix": TEXT,
            "scopes": _SCOPES,
            "expiresAt": maybe(AT),
            "createdAt": AT,
        }
    ),
    "KeySelf": obj({"id": maybe(ID), "name": TEXT, "scopes": _SCOPES}),
    "AuditLog": obj(
        {
            "id": ID,
            "actor": TEXT,
            "actorKeyId": maybe(ID),
            "action": words(*Action),
            "resource": words(*Resource),
            "resourceId": maybe(TEXT),
            "detail": maybe(ANYTHING),
            "ipAddress": maybe(TEXT),
            "createdAt": AT,
        }
    ),
    "AlertRule": obj(
        {
            "id": ID,
            "name": TEXT,
            "type": words(*RULE_WORDS),
            "threshold": NUMBER,
            "channel": words("slack", "webhook", "email"),
            "channelConfig": ANYTHING,
            "cooldownMinutes": COUNT,
            "enabled": YES,
            "lastTriggeredAt": maybe(AT),
            "createdAt": AT,
            "updatedAt": AT,
        }
    ),
    "Alert": obj(
        {
            "id": ID,
            "ruleId": ID,
            "ruleName": TEXT,
            "type": TEXT,
            "currentValue": NUMBER,
            "threshold": NUMBER,
            "channel": words("slack", "webhook", "email"),
            "delivered": YES,
            "triggeredAt": AT,
        }
    ),
    "DeadLetter": obj(
        {
            "id": ID,
            "source": words("email", "journey", "webhook"),
            "sourceId": maybe(TEXT),
            "payload": ANYTHING,
            "error": TEXT,
            "retryCount": COUNT,
            "status": words("pending", "retried", "discarded"),
            "retriedAt": maybe(AT),
            "createdAt": AT,
        }
    ),
    "Health": obj(
        {
            "status": words("healthy", "degraded", "migration_pending"),
            "uptime": RATE,
            "timestamp": AT,
            "version": TEXT,
            "components": obj(
                dict.fromkeys(
                    ("database", "redis", "engine"),
                    obj({"status": words("up", "down"), "latencyMs": RATE}),
                )
            ),
            "schema": obj(
                {
                    "engine": obj(
                        {
                            "required": maybe(TEXT),
                            "applied": maybe(TEXT),
                            "inSync": YES,
                            "pending": several(TEXT),
                        }
                    )
                }
            ),
        }
    ),
}
