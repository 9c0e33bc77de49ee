"""Keys and the audit log on the wire."""

from hogsend.access.schema.audit_log import AuditEntry, AuditQuery
from hogsend.access.schema.keys import ApiKey, ApiKeyMutation, ApiKeyQuery

__all__ = ["ApiKey", "ApiKeyMutation", "ApiKeyQuery", "AuditEntry", "AuditQuery"]
