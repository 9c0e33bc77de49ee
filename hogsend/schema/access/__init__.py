"""Keys and the audit log on the wire."""

from hogsend.schema.access.audit_log import AuditEntry, AuditQuery
from hogsend.schema.access.keys import ApiKey, ApiKeyMutation, ApiKeyQuery

__all__ = ["ApiKey", "ApiKeyMutation", "ApiKeyQuery", "AuditEntry", "AuditQuery"]
