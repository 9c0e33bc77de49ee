"""Admin routes that read journeys and their runs."""

from __future__ import annotations

from typing import Any

from hogsend.errors import NotFound
from hogsend.graphql.scalars import parse_duration
from hogsend.journeys.durations import parts
from hogsend.rest.params import PAGE, Choice, Flag, Param, Text
from hogsend.rest.shapes import JOURNEY, LOG, STATE, found, journey, listing, page, state, trigger
from hogsend.rest.table import AdminRoute, Named, RequestInput

STATUSES = ("active", "waiting", "completed", "failed", "exited")


def _parts(duration: str | None) -> dict[str, int] | None:
    """`{hours?, minutes?, seconds?}`."""
    return None if duration is None else parts(parse_duration(duration))


def _journey(data: dict[str, Any], _given: RequestInput) -> Any:
    node = found(data, "journey", "Journey")
    recent = node.pop("states")["nodes"]
    more = {
        "entryPeriod": _parts(node["entryPeriod"]),
        "exitOn": [trigger(one) for one in node["exitOn"]],
        "suppress": _parts(node["suppress"]) or {},
        "recentStates": [state(one) for one in recent],
    }
    return {"journey": Named({**journey(node), **more}, "JourneyDetail")}


def _states(data: dict[str, Any], given: RequestInput) -> Any:
    return page(found(data, "journey", "Journey")["states"], "states", state, given)


def _logged(data: dict[str, Any], given: RequestInput) -> Any:
    node = found(data, "journeyState", "Journey state")
    if given.path.get("id", node["journeyId"]) != node["journeyId"]:
        raise NotFound("Journey state")
    logs = node.pop("logs")["nodes"]
    return {"state": state(node), "logs": logs}


LOGGED = (
    STATE
    + LOG
    + """
    query ($id: ID!) { journeyState(id: $id) { ...State logs(first: 10000) { nodes { ...Log } } } }
    """
)

ROUTES = (
    AdminRoute(
        "GET /journeys",
        "The journeys of this deployment",
        JOURNEY
        + """
        query ($enabled: Boolean, $first: Int, $offset: Int) {
          journeys(enabled: $enabled, first: $first, offset: $offset) { totalCount nodes { ...Journey } }
        }
        """,
        listing("journeys", "journeys", journey),
        query=(Param("enabled", Flag(), "Only those that are enabled now, or are not"), *PAGE),
    ),
    AdminRoute(
        "GET /journeys/{id}",
        "One journey, with its newest runs",
        JOURNEY
        + STATE
        + """
        query ($id: ID!) {
          journey(id: $id) {
            ...Journey entryPeriod exitOn { event where } suppress states(first: 10) { nodes { ...State } }
          }
        }
        """,
        _journey,
        not_found="Journey",
    ),
    AdminRoute(
        "GET /journeys/{id}/states",
        "The runs of a journey, newest first",
        STATE
        + """
        query ($id: ID!, $status: [JourneyStateStatus!], $userId: String, $first: Int, $offset: Int) {
          journey(id: $id) {
            states(status: $status, userId: $userId, first: $first, offset: $offset) {
              totalCount nodes { ...State }
            }
          }
        }
        """,
        _states,
        query=(
            Param("status", Choice(STATUSES), "Only runs in this status"),
            Param("userId", Text(), "Only runs of the contact with this externalId or UUID"),
            *PAGE,
        ),
        not_found="Journey",
    ),
    AdminRoute(
        "GET /journeys/{id}/states/{stateId}",
        "One run of a journey, with its log",
        LOGGED,
        _logged,
        take=lambda given: {"id": given.path["stateId"]},
        not_found="Journey state",
    ),
    AdminRoute(
        "GET /journey-logs/{stateId}",
        "One run, with its log",
        LOGGED,
        _logged,
        take=lambda given: {"id": given.path["stateId"]},
        not_found="Journey state",
    ),
)
