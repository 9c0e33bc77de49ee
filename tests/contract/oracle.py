"""The contract's routes, written down by hand from its page: what the generated document is compared with."""

from __future__ import annotations

from dataclasses import dataclass

from hogsend.access.audit import Action, Resource
from hogsend.access.caller import Scope

ADMIN = "/v1/admin"
CONTACT_FIELDS = (
    "id",
    "externalId",
    "email",
    "properties",
    "firstSeenAt",
    "lastSeenAt",
    "createdAt",
    "updatedAt",
)


@dataclass(frozen=True)
class Promise:
    """One route: who may call it, what its list is called, what it says when the thing is not there."""

    method: str
    path: str
    scope: Scope | None
    plural: str | None = None
    missing: str | None = None
    audit_action: tuple[Action, Resource] | None = None

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


def _read(path: str, plural: str | None = None, missing: str | None = None) -> Promise:
    return Promise("GET", ADMIN + path, Scope.READ, plural, missing)


def _write(
    method: str,
    path: str,
    action: Action,
    resource: Resource,
    missing: str | None = None,
    scope: Scope = Scope.FULL_ADMIN,
) -> Promise:
    return Promise(method, ADMIN + path, scope, missing=missing, audit_action=(action, resource))


def _data(method: str, path: str) -> Promise:
    return Promise(method, path, Scope.INGEST)


CONTACT, JOURNEY, STATE = "Contact not found", "Journey not found", "Journey state not found"
RULE, LETTER = "Alert rule not found", "DLQ entry not found"
_STEER = Scope.JOURNEY_ADMIN

PROMISES: tuple[Promise, ...] = (
    _read("/metrics/overview"),
    _read("/metrics/journeys"),
    _read("/metrics/journeys/{id}", missing=JOURNEY),
    _read("/metrics/emails"),
    _read("/metrics/emails/deliverability"),
    _read("/metrics/events"),
    _read("/contacts", "contacts"),
    _read("/contacts/export"),
    _read("/contacts/{id}", missing=CONTACT),
    _read("/contacts/{id}/preferences", missing=CONTACT),
    _read("/contacts/{id}/timeline", "timeline", CONTACT),
    _read("/contacts/import/{jobId}", missing="Import job not found"),
    _write("POST", "/contacts", Action.CREATE, Resource.CONTACT),
    _write("PATCH", "/contacts/{id}", Action.UPDATE, Resource.CONTACT, CONTACT),
    _write("DELETE", "/contacts/{id}", Action.DELETE, Resource.CONTACT, CONTACT),
    _write("PUT", "/contacts/{id}/preferences", Action.UPDATE, Resource.CONTACT, CONTACT),
    _write("POST", "/contacts/import", Action.IMPORT, Resource.CONTACT),
    _read("/journeys", "journeys"),
    _read("/journeys/{id}", missing=JOURNEY),
    _read("/journeys/{id}/states", "states", JOURNEY),
    _read("/journeys/{id}/states/{stateId}", missing=STATE),
    _read("/journey-logs/{stateId}", missing=STATE),
    _write("PATCH", "/journeys/{id}", Action.UPDATE, Resource.JOURNEY, JOURNEY, _STEER),
    _write("DELETE", "/journeys/{id}/states/{stateId}", Action.CANCEL, Resource.JOURNEY, STATE, _STEER),
    _write("POST", "/journeys/{id}/enroll", Action.ENROLL, Resource.JOURNEY, JOURNEY, _STEER),
    _write("POST", "/journeys/{id}/enroll/batch", Action.ENROLL, Resource.JOURNEY, JOURNEY, _STEER),
    _read("/emails", "emails"),
    _read("/emails/{id}", missing="Email not found"),
    _write("POST", "/emails/{id}/resend", Action.RESEND, Resource.EMAIL, "Email not found"),
    _read("/events", "events"),
    _read("/events/{id}", missing="Event not found"),
    _write("POST", "/events/replay", Action.REPLAY, Resource.EVENT),
    Promise("GET", f"{ADMIN}/api-keys", Scope.FULL_ADMIN, "keys"),
    Promise("GET", f"{ADMIN}/api-keys/self", None),
    _write("POST", "/api-keys", Action.CREATE, Resource.API_KEY),
    _write("DELETE", "/api-keys/{id}", Action.REVOKE, Resource.API_KEY, "API key not found"),
    _read("/alerts/rules"),
    _write("POST", "/alerts/rules", Action.CREATE, Resource.ALERT_RULE),
    _write("PATCH", "/alerts/rules/{id}", Action.UPDATE, Resource.ALERT_RULE, RULE),
    _write("DELETE", "/alerts/rules/{id}", Action.DELETE, Resource.ALERT_RULE, RULE),
    _read("/alerts/history", "alerts"),
    _read("/dlq", "entries"),
    _write("POST", "/dlq/{id}/retry", Action.RETRY, Resource.DLQ, LETTER),
    _write("DELETE", "/dlq/{id}", Action.DISCARD, Resource.DLQ, LETTER),
    _read("/audit-logs", "logs"),
    _data("POST", "/v1/events"),
    _data("POST", "/v1/events/batch"),
    _data("PUT", "/v1/contacts"),
    _data("GET", "/v1/contacts/find"),
    _data("DELETE", "/v1/contacts"),
    _data("POST", "/v1/emails"),
)
