"""Admin routes that read emails."""

from __future__ import annotations

from typing import Any

from hogsend.rest.params import FROM, PAGE, TO, Choice, Param, Text
from hogsend.rest.shapes import EMAIL, email, found, listing, word
from hogsend.rest.table import AdminRoute, Named, RequestInput
from hogsend.tables.emails import STATUSES

_SORTS = {
    "createdAt": "CREATED_AT",
    "sentAt": "SENT_AT",
    "openedAt": "OPENED_AT",
    "clickedAt": "CLICKED_AT",
}


def _email(data: dict[str, Any], _given: RequestInput) -> Any:
    node = found(data, "email", "Email")
    history, links, run = node.pop("history")["nodes"], node.pop("links")["nodes"], node.pop("state")
    return {
        "email": email(node),
        "events": [_event(one) for one in history],
        "trackedLinks": [_link(one) for one in links],
        "journeyContext": None if run is None else run | {"status": word(run["status"])},
    }


def _event(node: dict[str, Any]) -> dict[str, Any]:
    return Named({"type": word(node.pop("type")), "timestamp": node.pop("at"), **node}, "EmailEvent")


def _link(node: dict[str, Any]) -> dict[str, Any]:
    clicks = node.pop("clicks")
    return Named(node | {"clickCount": clicks["totalCount"], "clicks": clicks["nodes"]}, "TrackedLink")


def _filters(given: RequestInput) -> dict[str, Any]:
    names = (
        "toEmail",
        "templateKey",
        "category",
        "status",
        "journeyId",
        "userId",
        "engagement",
        "from",
        "to",
    )
    return {name: given.query[name] for name in names}


ROUTES = (
    AdminRoute(
        "GET /emails",
        "Emails: sent, on their way, or kept back",
        EMAIL
        + """
        query ($filter: EmailFilter!, $sort: EmailSort!, $order: SortOrder!, $first: Int, $offset: Int) {
          emails(filter: $filter, sort: $sort, order: $order, first: $first, offset: $offset) {
            totalCount nodes { ...Email }
          }
        }
        """,
        listing("emails", "emails", email),
        take=lambda given: (
            given.page
            | {
                "filter": _filters(given),
                "sort": given.query["sort"] or "CREATED_AT",
                "order": given.query["order"] or "DESC",
            }
        ),
        query=(
            Param("toEmail", Text(), "To this address, in any case"),
            Param("templateKey", Text(), "Of this template"),
            Param("category", Text(), "Of this category"),
            Param("status", Choice(STATUSES), "That got this far and no further"),
            Param("journeyId", Text(), "Sent by this journey"),
            Param("userId", Text(), "To the contact with this externalId or UUID"),
            Param(
                "engagement",
                Choice(("opened", "clicked", "bounced", "complained")),
                "To which this ever happened",
            ),
            FROM,
            TO,
            Param("sort", Choice(tuple(_SORTS), _SORTS), "What they are sorted by; createdAt unless told"),
            Param("order", Choice(("asc", "desc")), "Which way; desc unless told"),
            *PAGE,
        ),
    ),
    AdminRoute(
        "GET /emails/{id}",
        "One email, what became of it, and its links",
        EMAIL
        + """
        query ($id: ID!) {
          email(id: $id) {
            ...Email
            history(first: 10000) { nodes { type at url ipAddress userAgent } }
            links(first: 10000) {
              nodes {
                id: uuid originalUrl
                clicks(first: 1000) { totalCount nodes { id: uuid clickedAt ipAddress userAgent } }
              }
            }
            state { ...JourneyContext }
          }
        }
        fragment JourneyContext on JourneyState { journeyId userId status currentNodeId }
        """,
        _email,
        not_found="Email",
    ),
)
