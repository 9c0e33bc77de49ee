"""Admin routes of metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hogsend.errors import NotFound
from hogsend.rest.params import FROM, TO, Choice, Flag, Param
from hogsend.rest.table import AdminRoute, RequestInput

PERIOD = Choice(("day", "week", "month"))
GRANULARITY = Choice(("hour", "day", "week"))


def _as(name: str, field: str | None = None) -> Callable[[dict[str, Any], RequestInput], Any]:
    """One list of `metrics`, under the contract's name for it."""
    return lambda data, _given: {name: data["metrics"][field or name]}


def _overview(data: dict[str, Any], _given: RequestInput) -> Any:
    return data["metrics"]["overview"]


def _journey(data: dict[str, Any], _given: RequestInput) -> Any:
    reach = data["metrics"]["journey"]
    if reach is None:
        raise NotFound("Journey")
    return reach


def _window(given: RequestInput) -> dict[str, Any]:
    return {"from": given.query["from"], "to": given.query["to"]}


ROUTES = (
    AdminRoute(
        "GET /metrics/overview",
        "How things stand",
        """
        query {
          metrics {
            overview {
              totalContacts activeJourneys emailsSent24h emailsSent7d emailsSent30d bounceRate30d unsubscribeRate
            }
          }
        }
        """,
        _overview,
    ),
    AdminRoute(
        "GET /metrics/journeys",
        "Each journey's runs",
        """
        query {
          metrics {
            journeys {
              journeyId name enrolled completed failed exited active completionRate avgDurationSecs
            }
          }
        }
        """,
        _as("journeys"),
    ),
    AdminRoute(
        "GET /metrics/journeys/{id}",
        "One journey's runs, and what became of its emails",
        """
        query ($id: ID!) {
          metrics {
            journey(id: $id) { enrolled emailSent emailOpened emailClicked completed failed exited }
          }
        }
        """,
        _journey,
        not_found="Journey",
    ),
    AdminRoute(
        "GET /metrics/emails",
        "By template, what ever happened to its emails",
        """
        query ($from: DateTime, $to: DateTime, $untemplated: Boolean!) {
          metrics {
            emails(from: $from, to: $to, includeUntemplated: $untemplated) {
              templateKey sent delivered opened clicked bounced
              deliveryRate openRate clickRate clickToDeliveryRate
            }
          }
        }
        """,
        _as("templates", "emails"),
        take=lambda given: _window(given) | {"untemplated": given.query["includeUntemplated"] or False},
        query=(
            FROM,
            TO,
            Param(
                "includeUntemplated", Flag(), "Whether sends without a template are there too, as `(none)`"
            ),
        ),
    ),
    AdminRoute(
        "GET /metrics/emails/deliverability",
        "What became of what was sent, by period, oldest first",
        """
        query ($period: DeliverabilityPeriod!, $from: DateTime, $to: DateTime) {
          metrics {
            deliverability(period: $period, from: $from, to: $to) {
              date total delivered bounced complained deliveryRate
            }
          }
        }
        """,
        _as("points", "deliverability"),
        take=lambda given: _window(given) | {"period": given.query["period"] or "DAY"},
        query=(Param("period", PERIOD, "How long one point is; a day unless told"), FROM, TO),
    ),
    AdminRoute(
        "GET /metrics/events",
        "How often each event occurred, by period, oldest first",
        """
        query ($granularity: EventGranularity!, $from: DateTime, $to: DateTime) {
          metrics { events(granularity: $granularity, from: $from, to: $to) { event date count } }
        }
        """,
        _as("events"),
        take=lambda given: _window(given) | {"granularity": given.query["granularity"] or "DAY"},
        query=(Param("granularity", GRANULARITY, "How long one count is; a day unless told"), FROM, TO),
    ),
)
