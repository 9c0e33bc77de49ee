"""Contacts as GraphQL shows them."""

from hogsend.schema.contacts.imports import ImportJob, ImportMutation, ImportQuery
from hogsend.schema.contacts.mutations import ContactMutation
from hogsend.schema.contacts.timeline import (
    ENTRY_TYPES,
    DecisionMade,
    EmailActivity,
    EventReceived,
    JourneyProgress,
    TimelineEntry,
    TimelineKind,
)
from hogsend.schema.contacts.types import (
    Contact,
    ContactBy,
    ContactFilter,
    ContactPreferences,
    ContactQuery,
    ContactSort,
    find_contact,
    user_id,
)

__all__ = [
    "ENTRY_TYPES",
    "Contact",
    "ContactBy",
    "ContactFilter",
    "ContactMutation",
    "ContactPreferences",
    "ContactQuery",
    "ContactSort",
    "DecisionMade",
    "EmailActivity",
    "EventReceived",
    "ImportJob",
    "ImportMutation",
    "ImportQuery",
    "JourneyProgress",
    "TimelineEntry",
    "TimelineKind",
    "find_contact",
    "user_id",
]
