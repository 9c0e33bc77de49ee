"""Admin routes of dead letters, which REST calls the DLQ."""

from __future__ import annotations

from typing import Any

from hogsend.rest.params import PAGE, Choice, Param
from hogsend.rest.shapes import listing, lowered
from hogsend.rest.table import AdminRoute, RequestInput
from hogsend.tables.deadletters import SOURCES, STATUSES

ENTRY = """
fragment DeadLetter on DeadLetter {
  id: uuid source sourceId payload error retryCount status retriedAt createdAt
}
"""
ERRORS = "userErrors { field message code }"


def _retried(data: dict[str, Any], _given: RequestInput) -> Any:
    entry = data["deadLetterRetry"]["deadLetter"]
    return {"id": entry["id"], "status": "retried", "retriedAt": entry["retriedAt"]}


def _discarded(data: dict[str, Any], _given: RequestInput) -> Any:
    return {"id": data["deadLetterDiscard"]["deadLetter"]["id"], "status": "discarded"}


ROUTES = (
    AdminRoute(
        "GET /dlq",
        "What could not be done, newest first",
        ENTRY
        + """
        query ($source: DeadLetterSource, $status: DeadLetterStatus, $first: Int, $offset: Int) {
          deadLetters(filter: { source: $source, status: $status }, first: $first, offset: $offset) {
            totalCount nodes { ...DeadLetter }
          }
        }
        """,
        listing("deadLetters", "entries", lowered("source", "status")),
        query=(
            Param("source", Choice(SOURCES), "Only failures of this kind"),
            Param("status", Choice(STATUSES), "Only entries that are settled this far"),
            *PAGE,
        ),
    ),
    AdminRoute(
        "POST /dlq/{id}/retry",
        "Queue what an entry stands for again",
        f"""
        mutation ($id: ID!) {{
          deadLetterRetry(input: {{ id: $id }}) {{ deadLetter {{ id: uuid retriedAt }} {ERRORS} }}
        }}
        """,
        _retried,
        not_found="DLQ entry",
    ),
    AdminRoute(
        "DELETE /dlq/{id}",
        "Give an entry up; its row stays",
        f"""
        mutation ($id: ID!) {{
          deadLetterDiscard(input: {{ id: $id }}) {{ deadLetter {{ id: uuid }} {ERRORS} }}
        }}
        """,
        _discarded,
        not_found="DLQ entry",
    ),
)
