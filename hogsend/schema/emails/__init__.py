"""Emails, templates and suppressions as GraphQL shows them."""

from hogsend.schema.emails.enums import EmailEngagement, EmailFact, EmailSort, EmailStatus, SuppressionType
from hogsend.schema.emails.templates import EmailTemplate, TemplateQuery
from hogsend.schema.emails.types import (
    Email,
    EmailClick,
    EmailEvent,
    EmailFilter,
    EmailLink,
    EmailQuery,
    Suppression,
)

__all__ = [
    "Email",
    "EmailClick",
    "EmailEngagement",
    "EmailEvent",
    "EmailFact",
    "EmailFilter",
    "EmailLink",
    "EmailQuery",
    "EmailSort",
    "EmailStatus",
    "EmailTemplate",
    "Suppression",
    "SuppressionType",
    "TemplateQuery",
]
