"""Emails, templates and suppressions as GraphQL shows them."""

from hogsend.emails.schema.email import (
    Email,
    EmailClick,
    EmailEvent,
    EmailFilter,
    EmailLink,
    EmailQuery,
    Suppression,
)
from hogsend.emails.schema.enums import EmailEngagement, EmailFact, EmailSort, EmailStatus, SuppressionType
from hogsend.emails.schema.template import EmailTemplate, TemplateQuery

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
