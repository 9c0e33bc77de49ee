"""Admin routes that read contacts."""

from __future__ import annotations

from typing import Any

from hogsend.errors import NotFound
from hogsend.rest.params import PAGE, Choice, Param, Text
from hogsend.rest.shapes import CONTACT, PREFERENCES, found, listing, page, word
from hogsend.rest.table import AdminRoute, Named, RequestInput

_KINDS = {"event": "EVENT", "journey": "JOURNEY", "email": "EMAIL"}

SEARCH = Param("search", Text(), "A part of the email or the externalId, in any case")


def _contact(data: dict[str, Any], _given: RequestInput) -> Any:
    contact = found(data, "contact", "Contact")
    preferences = contact.pop("preferences")
    return {"contact": contact, "preferences": preferences}


def _preferences(data: dict[str, Any], _given: RequestInput) -> Any:
    preferences = found(data, "contact", "Contact")["preferences"]
    if preferences is None:
        # The contract has one text for both: a contact without preferences is not found here.
        raise NotFound("Contact")
    return {"preferences": preferences}


def _timeline(data: dict[str, Any], given: RequestInput) -> Any:
    return page(found(data, "contact", "Contact")["timeline"], "timeline", _entry, given)


def _entry(entry: dict[str, Any]) -> dict[str, Any]:
    """The instant is the thing's own, to the digit, whatever kind of entry it is."""
    for kind, at in (("event", "occurredAt"), ("journey", "createdAt"), ("email", "createdAt")):
        data = entry.get(kind)
        if data is not None:
            timestamp = data.pop(at)
            if "status" in data:
                data["status"] = word(data["status"])
            return Named({"type": kind, "timestamp": timestamp, "data": data}, "TimelineEntry")
    raise LookupError(f"an entry of the timeline without what it is about: {entry}")


ROUTES = (
    AdminRoute(
        "GET /contacts",
        "Contacts that are not deleted, last seen first",
        CONTACT
        + """
        query ($search: String, $first: Int, $offset: Int) {
          contacts(filter: { search: $search }, first: $first, offset: $offset) { totalCount nodes { ...Contact } }
        }
        """,
        listing("contacts", "contacts"),
        query=(SEARCH, *PAGE),
    ),
    AdminRoute(
        "GET /contacts/{id}",
        "One contact, by its UUID or its externalId",
        CONTACT
        + PREFERENCES
        + """
        query ($id: String!) { contact(by: { ref: $id }) { ...Contact preferences { ...Preferences } } }
        """,
        _contact,
        not_found="Contact",
    ),
    AdminRoute(
        "GET /contacts/{id}/preferences",
        "What a contact agreed to",
        PREFERENCES
        + """
        query ($id: String!) { contact(by: { ref: $id }) { preferences { ...Preferences } } }
        """,
        _preferences,
        not_found="Contact",
    ),
    AdminRoute(
        "GET /contacts/{id}/timeline",
        "What happened to a contact, newest first",
        """
        query ($ref: String!, $types: [TimelineKind!]!, $first: Int, $offset: Int) {
          contact(by: { ref: $ref }) {
            timeline(types: $types, milestones: true, first: $first, offset: $offset) {
              totalCount
              nodes {
                ... on EventReceived { event { id: uuid event: name properties occurredAt } }
                ... on JourneyProgress {
                  journey: state {
                    id: uuid journeyId status currentNodeId completedAt exitedAt createdAt
                  }
                }
                ... on EmailActivity {
                  email {
                    id: uuid templateKey subject status toEmail sentAt deliveredAt openedAt createdAt
                  }
                }
              }
            }
          }
        }
        """,
        _timeline,
        take=lambda given: (
            given.page
            | {
                "ref": given.path["id"],
                "types": [given.query["type"]] if given.query["type"] else list(_KINDS.values()),
            }
        ),
        query=(Param("type", Choice(tuple(_KINDS)), "Only entries of this kind"), *PAGE),
        not_found="Contact",
    ),
)
