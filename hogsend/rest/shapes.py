"""Shapes of REST answers: the fragments that select them from GraphQL, and the objects that are made of the data.

Fragments already name most fields as the contract does; what is left is words that GraphQL writes in capitals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hogsend.errors import NotFound
from hogsend.rest.table import RequestInput

Node = dict[str, Any]
Shape = Callable[[Node], Node]

CONTACT = """
fragment Contact on Contact {
  id: uuid externalId email properties firstSeenAt lastSeenAt createdAt updatedAt
}
"""
PREFERENCES = """
fragment Preferences on ContactPreferences {
  id: uuid userId email unsubscribedAll suppressed bounceCount categories suppressedAt lastBounceAt
}
"""
STATE = """
fragment State on JourneyState {
  id: uuid userId userEmail journeyId currentNodeId status hatchetRunId: engineRunId context errorMessage entryCount
  completedAt exitedAt createdAt updatedAt
}
"""
LOG = """
fragment Log on JourneyLog { id: uuid fromNodeId toNodeId action detail createdAt }
"""
JOURNEY = """
fragment Journey on Journey {
  id: key name description enabled trigger { event where } entryLimit
  counts { active waiting completed failed exited }
}
"""
EMAIL = """
fragment Email on Email {
  id: uuid journeyStateId templateKey messageId resendId: messageId fromEmail toEmail subject category status userId
  journeyId sentAt deliveredAt openedAt clickedAt bouncedAt complainedAt createdAt updatedAt
}
"""
EVENT = """
fragment Event on Event { id: uuid userId event: name properties occurredAt }
"""


def plain(node: Node) -> Node:
    """What the fragment answers is what the contract says."""
    return node


def lowered(*fields: str) -> Shape:
    """Words in lower case: `ACTIVE` is `active`."""

    def shape(node: Node) -> Node:
        return node | {field: word(node[field]) for field in fields}

    return shape


def word(value: str | None) -> str | None:
    return None if value is None else value.lower()


state = lowered("status")
email = lowered("status")


def trigger(node: Node) -> Node:
    """`{event, where?}`."""
    return {"event": node["event"]} | ({} if node["where"] is None else {"where": node["where"]})


def journey(node: Node) -> Node:
    return node | {"entryLimit": word(node["entryLimit"]), "trigger": trigger(node["trigger"])}


def found(data: Mapping[str, Any], root: str, thing: str) -> Node:
    """The node of a root field. Raises `NotFound` where it is null."""
    node: Node | None = data[root]
    if node is None:
        raise NotFound(thing)
    return node


def page(connection: Node, name: str, shape: Shape, given: RequestInput) -> Node:
    """`{<plural>: […], total, limit, offset}`."""
    return {
        name: [shape(node) for node in connection["nodes"]],
        "total": connection["totalCount"],
        "limit": given.query["limit"],
        "offset": given.query["offset"],
    }


def listing(root: str, name: str, shape: Shape = plain) -> Callable[[dict[str, Any], RequestInput], Node]:
    """A route that answers one page of a root field."""
    return lambda data, given: page(data[root], name, shape, given)
