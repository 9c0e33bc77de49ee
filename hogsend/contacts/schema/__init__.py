"""Contacts as GraphQL shows them."""

from hogsend.contacts.schema.contact import (
    Contact,
    ContactBy,
    ContactFilter,
    ContactPreferences,
    ContactQuery,
    ContactSort,
    find_contact,
    user_id,
)
from hogsend.contacts.schema.imports import ImportJob, ImportMutation, ImportQuery
from hogsend.contacts.schema.mutations import ContactMutation
from hogsend.contacts.schema.timeline import (
    ENTRY_TYPES,
    DecisionMade,
    EmailActivity,
    EventReceived,
    JourneyProgress,
    TimelineEntry,
    TimelineKind,
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
